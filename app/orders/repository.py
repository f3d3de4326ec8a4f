"""The statements of a delivery (`queries.sql`) as typed functions.

`destination` is the name of one, or a `Destination`. Durations are in seconds, times the database's (UTC).
Each function runs in the caller's transaction, if there is one.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from app.db.pool import Connection, Pool
from app.db.queries import load
from app.orders.destination import Destination
from app.signals.book import OrderTerms, Position, stored_terms, terms_columns
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome, Status

_SQL = load("app.orders")
_encode = msgspec.json.Encoder().encode


class HeldPosition(NamedTuple):
    """An open position with the id of its row."""

    id: UUID
    position: Position


class Delivery(msgspec.Struct, frozen=True):
    """A claimed signal with its open attempt. `number` counts the attempts of its round, from 1.

    `terms` are those that are sent; None in a kept outcome of an earlier version. `held` is the position of
    its ticker at the claim. `is_shared`: its signal has orders at other destinations, too.
    """

    id: UUID
    type: str
    ticker: str
    body: bytes
    number: int
    attempt: int
    webhook_id: str
    started_at: datetime
    claim_id: UUID
    destination: Destination
    terms: OrderTerms | None = None
    held: HeldPosition | None = None
    is_shared: bool = False


class DueSignal(NamedTuple):
    """A signal whose order is due, with the open position of its ticker.

    `order` is the order's id, `attempts` counts those of its round so far. `is_retry_of_unknown`: an earlier
    attempt has an unknown outcome.
    `is_buy_undelivered`: nothing is open, and the buy before this exit was not delivered.
    """

    id: UUID
    order: int
    attempts: int
    ticker: str
    type: str
    intent: str | None
    price: Decimal | None
    body: bytes
    held: HeldPosition | None
    is_retry_of_unknown: bool
    is_buy_undelivered: bool
    is_shared: bool


class Verdict(NamedTuple):
    """What a claim does with a due signal. Without terms it is rejected."""

    signal: DueSignal
    terms: OrderTerms | None
    reason: Reason
    detail: dict[str, Any]


class ClaimedOrders(NamedTuple):
    """What a claim changed: orders that are sent now, and those that the position made it reject.

    It passes over an order that another transaction has changed since it was read.
    """

    deliveries: list[Delivery]
    rejected: list[Verdict]


class DeliveredOrder(msgspec.Struct, omit_defaults=True):
    """A success to record. The field names are those of the SQL, and what is None is left out.

    The position before it: `position` is the id of its row, None if nothing was open; `held` is its quantity.
    The position after it: `is_open`, `quantity`, `is_confirmed`, `average_price`, and `realized`, the whole
    gain. `buys` is the number of buys to count.
    """

    attempt: int
    signal: UUID
    destination: str
    http_status: int | None
    response: bytes
    has_ended: bool
    is_open: bool
    buys: int
    change: str
    position: UUID | None = None
    held: Decimal | None = None
    was_confirmed: bool | None = None
    quantity: Decimal | None = None
    is_confirmed: bool | None = None
    average_price: Decimal | None = None
    realized: Decimal | None = None


class DeliveredChange(NamedTuple):
    """What recording a success changed. `is_done` is false if the signal was forwarded before.

    `is_stale`: the position is another one than expected, and nothing was recorded. `position` is opened,
    closed, counted up, reduced or unchanged. `age_seconds` is the signal's age.
    """

    id: UUID
    is_done: bool
    is_stale: bool
    position: str | None
    age_seconds: float | None
    has_closed_circuit: bool


class UndeliveredChange(NamedTuple):
    """What recording an undelivered attempt changed. `status` is the signal's, None if the claim was lost.

    `is_unclear`: the position may have changed.
    """

    status: Status | None
    is_unclear: bool


class AbandonedAttempt(NamedTuple):
    """An attempt that nobody ended, with its signal and what was sent.

    `is_unclear`: the position may have changed. `destination` is a name.
    """

    attempt: int
    id: UUID
    destination: str
    type: str
    ticker: str
    claim_id: UUID
    terms: OrderTerms
    is_unclear: bool = True


async def lock_approvals_shared(connection: Connection) -> None:
    """Share the approval lock with the other decision workers until the transaction ends.

    Whether an order is approved depends on the pending orders of its ticker. So no other transaction may
    approve one between this check and the commit. Decision workers claim different tickers, so they share it.
    """
    await connection.execute(_SQL["lock_approvals_shared"])


async def lock_approvals_exclusive(connection: Connection) -> None:
    """Hold the approval lock alone until the transaction ends: for reprocessing, replay and manual orders.

    Only the next statement sees what was committed while this one waited.
    """
    await connection.execute(_SQL["lock_approvals_exclusive"])


async def try_lock_approvals_exclusive(connection: Connection) -> bool:
    """Hold the approval lock alone until the transaction ends; False, without waiting, if another has it."""
    is_locked: bool = await connection.fetchval(_SQL["try_lock_approvals_exclusive"])
    return is_locked


async def find_due(
    connection: Connection,
    *,
    limit: int,
    destination: Destination,
    has_token: bool,
    exits_only: bool,
    gap_seconds: int,
) -> list[DueSignal]:
    """Return the orders that are due, at most one of a ticker, exits first. They are not locked.

    Without a token, which needs the limiter's lock, none is due while the circuit is open. With `exits_only`
    entries wait: the tokens that are left are reserved for exits. An order waits for `gap_seconds` after the
    delivery of an opposite one of its ticker.
    """
    rows = await connection.fetch(
        _SQL["find_due"], limit, destination.key, has_token, exits_only, destination.name, gap_seconds
    )
    # the columns are in the order of the fields
    return [DueSignal._make((*row[:8], _held(*row[8:13]), *row[13:])) for row in rows]


async def claim(
    connection: Connection,
    *,
    claim_id: UUID,
    lease_seconds: float,
    destination: Destination,
    verdicts: Sequence[Verdict],
    limit: int,
) -> ClaimedOrders:
    """Lock and claim at most `limit` orders, each with an open attempt, or reject them, in one statement.

    It waits for no lock, and passes over an order that is locked or has changed since `find_due`.
    """
    # one JSON array: asyncpg takes several times as long for arrays
    given = _encode(list(map(_verdict_row, verdicts))).decode()
    rows = await connection.fetch(_SQL["claim"], claim_id, lease_seconds, destination.key, given, limit)
    claimed = {row["id"]: row for row in rows}
    known = [(verdict, claimed[verdict.signal.id]) for verdict in verdicts if verdict.signal.id in claimed]
    return ClaimedOrders(
        [_delivery(verdict, row, claim_id, destination) for verdict, row in known if row["attempt"]],
        [verdict for verdict, row in known if not row["attempt"]],
    )


def _delivery(
    verdict: Verdict, attempt: asyncpg.Record, claim_id: UUID, destination: Destination
) -> Delivery:
    signal = verdict.signal
    return Delivery(
        signal.id,
        signal.type,
        signal.ticker,
        signal.body,
        attempt["number"],
        attempt["attempt"],
        attempt["webhook_id"],
        attempt["started_at"],
        claim_id,
        destination,
        verdict.terms,
        signal.held,
        signal.is_shared,
    )


def _held(
    position_id: UUID | None,
    quantity: Decimal | None = None,
    is_confirmed: bool = True,  # noqa: FBT001, FBT002  # a column
    average_price: Decimal | None = None,
    realized: Decimal | None = None,
) -> HeldPosition | None:
    if position_id is None:
        return None
    return HeldPosition(position_id, Position(quantity, is_confirmed, average_price, realized))


class _VerdictRow(msgspec.Struct, omit_defaults=True):
    """A verdict as `claim` reads it; the field names are those of the SQL, and what is None is left out."""

    id: int
    signal: UUID
    attempts: int
    reason: str
    reason_code: str
    reason_params: dict[str, Any]
    intent: str | None = None
    quantity: Decimal | None = None
    quantity_unit: str | None = None
    sentiment: str | None = None
    detail: dict[str, Any] | None = None


def _verdict_row(verdict: Verdict) -> _VerdictRow:
    reason, code, params = verdict.reason.columns()
    intent, quantity, unit, sentiment = terms_columns(verdict.terms)
    return _VerdictRow(
        verdict.signal.order,
        verdict.signal.id,
        verdict.signal.attempts,
        reason,
        code,
        params,
        intent,
        quantity,
        unit,
        sentiment,
        verdict.detail or None,
    )


async def lock_signals(connection: Connection, *, ids: Sequence[UUID]) -> None:
    """Lock signals, in the order of their ids, until the transaction ends."""
    await connection.execute(_SQL["lock_signals"], ids)


async def record_delivered(
    connection: Connection, *, orders: Sequence[DeliveredOrder]
) -> dict[UUID, DeliveredChange]:
    """Record successes in one commit: attempts, signals, positions, events, circuit.

    They are of different tickers and of one destination. Signals with orders at several destinations are
    locked by the caller. Return the changes by signal.
    """
    rows = await connection.fetch(
        _SQL["record_delivered"], _encode(orders).decode(), ReasonCode.DELIVERED.english
    )
    return {row["id"]: DeliveredChange(*row) for row in rows}


async def read_ended_attempt(connection: Connection, *, attempt: int) -> bool | None:
    """Return None while the attempt is open, else whether no other order of its ticker has ended since."""
    is_newest: bool | None = await connection.fetchval(_SQL["read_ended_attempt"], attempt)
    return is_newest


async def lock_position(connection: Connection, *, ticker: str, destination: str) -> HeldPosition | None:
    """Lock the open position of a ticker at a destination, by its name, until the transaction ends.

    None if nothing is open.
    """
    row = await connection.fetchrow(_SQL["lock_position"], ticker, destination)
    return _held(*row) if row else None


async def write_unknown(
    connection: Connection,
    *,
    ticker: str,
    destination: str,
    signal: UUID,
    before: HeldPosition | None,
    position: Position,
) -> None:
    """Write what an order of unknown outcome may have left open at a destination, unconfirmed.

    `before`: what `lock_position` returned. A position that is open since counts as of unknown quantity.
    """
    values = position.quantity, position.average_price, position.realized
    await connection.execute(
        _SQL["write_unknown"], ticker, signal, *values, before.id if before else None, destination
    )


async def record_undelivered(
    connection: Connection | Pool,
    *,
    attempt: int,
    signal: UUID,
    claim_id: UUID,
    outcome: Outcome,
    http_status: int | None = None,
    error: Reason | None,
    response: bytes | None = None,
    status: Status,
    reason: Reason,
    retry_in_seconds: float | None,
) -> UndeliveredChange:
    """End an attempt and set its signal's next status, in one commit.

    A buy that would be retried is rejected if a pending exit after it closes the position.
    """
    row = await connection.fetchrow(
        _SQL["record_undelivered"],
        *(attempt, signal, claim_id, outcome.value, http_status, response),
        *(error.columns() if error else (None, None, None)),
        *(status, *reason.columns(), retry_in_seconds, ReasonCode.OVERTAKEN.english),
    )
    assert row is not None  # noqa: S101  # for mypy: the statement has one row
    return UndeliveredChange(Status(row["status"]) if row["status"] else None, row["is_unclear"])


async def lock_abandoned(connection: Connection, *, known: Sequence[int]) -> list[AbandonedAttempt]:
    """Lock the signals of up to 500 open attempts whose lease has run out, skipping locked ones.

    `known` are attempts that are passed over.
    """
    return list(map(_abandoned, await connection.fetch(_SQL["lock_abandoned"], known)))


def _abandoned(row: asyncpg.Record) -> AbandonedAttempt:
    columns = (row[name] for name in ("type", "intent", "quantity", "quantity_unit", "sentiment", "price"))
    return AbandonedAttempt(
        **{name: row[name] for name in ("attempt", "id", "destination", "type", "ticker", "claim_id")},
        terms=stored_terms(*columns),
        is_unclear=row.get("is_unclear", True),
    )


async def renew_leases(connection: Connection, *, attempts: Sequence[int], seconds: float) -> None:
    """Renew the leases of the attempts' signals that are about to run out, skipping locked ones."""
    await connection.execute(_SQL["renew_leases"], attempts, seconds)


async def end_strays(
    connection: Connection, *, known: Sequence[int], longest_lease: float, error: ReasonCode
) -> list[AbandonedAttempt]:
    """End open attempts that lost their signal's claim, except `known` and recent ones; return them."""
    rows = await connection.fetch(_SQL["end_strays"], known, longest_lease, error.english, error.value)
    return list(map(_abandoned, rows))


async def has_attempt(connection: Connection, *, attempt: int, signal: UUID, claim_id: UUID) -> bool:
    """Return whether the attempt is in this database."""
    return bool(await connection.fetchval(_SQL["has_attempt"], attempt, signal, claim_id))


async def read_open_attempts(connection: Connection, *, attempts: Sequence[int]) -> set[int]:
    """Return those of the attempts that have not ended."""
    return {row["id"] for row in await connection.fetch(_SQL["read_open_attempts"], attempts)}


async def store_paper_delivery(pool: Pool, *, webhook_id: str, headers: dict[str, str], body: bytes) -> None:
    """Store a request that no destination receives."""
    await pool.execute(_SQL["store_paper_delivery"], webhook_id, headers, body)
