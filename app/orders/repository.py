"""The statements of a delivery (`queries.sql`) as typed functions.

`destination` is a destination's key (`Destination.key`). Durations are in seconds, times are the database's
(UTC). Each function runs in the caller's transaction, if there is one.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from pydantic import BaseModel, Field

from app.db.pool import Connection, Pool
from app.db.queries import fetch_one, load
from app.orders.destination import OWN_ERRORS, Attempt, Destination, Usage, Window
from app.signals.amounts import Amount
from app.signals.book import OrderTerms, Position, stored_terms, terms_columns
from app.signals.reasons import Reason, ReasonCode, stored_reason, templates
from app.signals.selection import SignalFilter
from app.signals.statuses import Outcome, Status

_SQL = load("app.orders")
_encode = msgspec.json.Encoder().encode
_EXPIRY_REASONS = templates(ReasonCode.EXPIRED_UNDECIDED, ReasonCode.EXPIRED_UNSENT, ReasonCode.EXPIRED)


class HeldPosition(NamedTuple):
    """An open position with the id of its row."""

    id: UUID
    position: Position


class Delivery(msgspec.Struct, frozen=True):
    """A claimed signal with its open attempt. `number` counts the attempts of its round, from 1.

    `terms` are those that are sent; None in a kept outcome of an earlier version. `held` is the position of
    its ticker at the claim.
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


class DueSignal(NamedTuple):
    """A signal that is due, locked for its claim, with the open position of its ticker.

    `is_retry_of_unknown`: an earlier attempt has an unknown outcome. `is_buy_undelivered`: nothing is open,
    and the buy before this exit was not delivered.
    """

    id: UUID
    ticker: str
    type: str
    intent: str | None
    price: Decimal | None
    body: bytes
    held: HeldPosition | None
    is_retry_of_unknown: bool
    is_buy_undelivered: bool


class Verdict(NamedTuple):
    """What a claim does with a due signal. Without terms it is rejected."""

    signal: DueSignal
    terms: OrderTerms | None
    reason: Reason
    detail: dict[str, Any]


class EndedSignal(NamedTuple):
    """A signal that ended without having been sent."""

    id: UUID
    ticker: str
    reason: str


class DeliveredOrder(msgspec.Struct, omit_defaults=True):
    """A success to record. The field names are those of the SQL, and what is None is left out.

    The position before it: `position` is the id of its row, None if nothing was open; `held` is its quantity.
    The position after it: `is_open`, `quantity`, `is_confirmed`, `average_price`, and `realized`, the whole
    gain. `buys` is the number of buys to count.
    """

    attempt: int
    signal: UUID
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


class Ledger(NamedTuple):
    """What counts against the limits at `now`; `ahead_seconds` above 0: the clock has stepped back.

    `probe_at`: when the next probe may start, None while the circuit is closed. `usage`: one for each window.
    """

    now: datetime
    open_attempts: int
    probe_at: datetime | None
    ahead_seconds: float
    usage: list[Usage]


class ClampedTimes(NamedTuple):
    """How many stored times were too far ahead, and by how much the furthest was."""

    clamped: int
    ahead_seconds: float
    now: datetime


class ClockReading(NamedTuple):
    """The database's time, the newest signal's `seq`, and a pending buy with its expiry, if there is one."""

    now: datetime
    last_seq: int
    buy: UUID | None
    buy_expires_at: datetime | None


class DeliveredChange(NamedTuple):
    """What recording a success changed. `is_done` is false if the signal was forwarded before.

    `is_stale`: the position is another one than expected, and nothing was recorded. `position` is opened,
    closed, counted up, reduced or unchanged. `age_seconds` is the signal's age. `has_more_due`: the outbox
    may have more to claim.
    """

    id: UUID
    is_done: bool
    is_stale: bool
    position: str | None
    age_seconds: float | None
    has_more_due: bool
    has_closed_circuit: bool


class UndeliveredChange(NamedTuple):
    """What recording an undelivered attempt changed. `status` is the signal's, None if the claim was lost.

    `is_unclear`: the position may have changed.
    """

    status: Status | None
    is_unclear: bool


class AbandonedAttempt(NamedTuple):
    """An attempt that nobody ended, with its signal and what was sent.

    `is_unclear`: the position may have changed.
    """

    attempt: int
    id: UUID
    type: str
    ticker: str
    claim_id: UUID
    terms: OrderTerms
    is_unclear: bool = True


class ExpiredSignal(NamedTuple):
    """A signal that has just expired."""

    id: UUID
    ticker: str
    type: str
    reason: str


class Circuit(NamedTuple):
    """A destination's circuit breaker; open while `probe_at`, the moment of the next probe, is set."""

    probe_at: datetime | None
    failed_probes: int


DeadStatus = Literal["failed", "expired"]


class DeadLetter(BaseModel):
    """A signal that was not delivered and is not retried.

    `blocked`: a later order of its ticker is pending, so it cannot be replayed now. `may_be_executed`: the
    outcome of an attempt is unknown, so replaying an entry may buy twice.
    """

    id: UUID
    seq: int
    status: DeadStatus
    type: str
    ticker: str
    reason: str
    reason_code: str | None = Field(default=None, exclude=True)
    reason_params: dict[str, Any] | None = Field(default=None, exclude=True)
    received_at: datetime
    status_at: datetime
    attempts: int
    round: int
    source: str | None
    quantity: Amount | None
    quantity_unit: str | None
    price: Amount | None
    blocked: bool
    may_be_executed: bool


class ReplayCandidate(NamedTuple):
    """A signal selected for replay; blocked while a later order of its ticker is pending.

    `may_be_executed`: an entry with an attempt of unknown outcome.
    """

    id: UUID
    is_blocked: bool
    may_be_executed: bool


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


async def lock_limiter(connection: Connection, *, destination: str) -> None:
    """Lock the destination's tokens, in every process, until the transaction ends."""
    await connection.execute(_SQL["lock_limiter"], destination)


async def read_ledger(connection: Connection, *, destination: str, windows: Sequence[Window]) -> Ledger:
    """Return what counts against the limits; the caller holds the limiter's lock."""
    rows = await connection.fetch(
        _SQL["read_ledger"],
        destination,
        [window.seconds for window in windows],
        [window.limit for window in windows],
    )
    first = rows[0]
    usage = [Usage(int(row["ended"]), row["leaves_at"]) for row in rows]
    return Ledger(first["now"], first["open"], first["probe_at"], first["ahead_seconds"], usage)


async def move_ends_back(connection: Connection, *, destination: str, seconds: float) -> None:
    """Move ends of attempts that are ahead of the clock back by `seconds`, and the destination's hold."""
    await connection.execute(_SQL["move_ends_back"], destination, seconds)


async def read_ends_ahead(connection: Connection, *, destination: str) -> dict[str, float]:
    """Return by how many seconds the newest end of an attempt is ahead of the clock, by destination.

    Of this destination, and of those that have had a hold or an open circuit.
    """
    rows = await connection.fetch(_SQL["read_ends_ahead"], destination)
    return {row["destination"]: row["ahead_seconds"] for row in rows}


async def read_clock(connection: Connection) -> ClockReading:
    """Return the database's time, and what shows later which signals were stored before it."""
    return ClockReading(**await fetch_one(connection, _SQL["read_clock"]))


async def read_seconds_ahead(connection: Connection) -> float:
    """Return by how many seconds the newest stored time is ahead of the clock, 0 if none is."""
    ahead: float | None = await connection.fetchval(_SQL["read_seconds_ahead"])
    return ahead or 0.0


async def lock_corrections(connection: Connection) -> None:
    """Let no other process correct pending signals until the transaction ends."""
    await connection.execute(_SQL["lock_corrections"])


async def has_later_expiry(connection: Connection, *, signal: UUID, expires_at: datetime) -> bool:
    """Return whether a signal expires at this time or later: no process has corrected it."""
    return bool(await connection.fetchval(_SQL["has_later_expiry"], signal, expires_at))


async def shift_pending(
    connection: Connection, *, seconds: float, is_age_unknown: bool, last_seq: int | None
) -> int:
    """Move the times of pending signals that are ahead of the clock back by `seconds`; return how many.

    Buys up to `last_seq` move whatever their times are. With `is_age_unknown` the moved buys expire.
    """
    return int(await connection.fetchval(_SQL["shift_pending"], seconds, is_age_unknown, last_seq))


async def has_pending_ahead(connection: Connection) -> bool:
    """Return whether a pending signal has a time that is ahead of the clock."""
    return bool(await connection.fetchval(_SQL["has_pending_ahead"]))


async def shift_ended(connection: Connection, *, seconds: float, limit: int) -> int:
    """Move the times of up to `limit` ended signals that arrived ahead of the clock; return how many."""
    return int(await connection.fetchval(_SQL["shift_ended"], seconds, limit))


async def shift_positions(connection: Connection, *, seconds: float) -> None:
    """Move the opening of positions that is ahead of the clock back by `seconds`."""
    await connection.execute(_SQL["shift_positions"], seconds)


async def clamp_times(
    connection: Connection,
    *,
    longest_hold: float,
    longest_probe_delay: float,
    longest_retry_delay: float,
    longest_lease: float,
) -> ClampedTimes:
    """Bring times that are further ahead than these seconds back to now, a lease to its full length."""
    limits = longest_hold, longest_probe_delay, longest_retry_delay, longest_lease
    return ClampedTimes(**await fetch_one(connection, _SQL["clamp_times"], *limits))


async def lock_due(
    connection: Connection, *, limit: int, destination: Destination, has_token: bool, exits_only: bool
) -> list[DueSignal]:
    """Lock the signals that are due, at most one of a ticker, exits first.

    Without a token, which needs the limiter's lock, none is due while the circuit is open. With `exits_only`
    entries wait: the tokens that are left are reserved for exits.
    """
    rows = await connection.fetch(_SQL["lock_due"], limit, destination.key, has_token, exits_only)
    # the columns are in the order of the fields
    return [DueSignal._make((*row[:6], _held(*row[6:11]), *row[11:])) for row in rows]


async def claim(
    connection: Connection,
    *,
    claim_id: UUID,
    lease_seconds: float,
    destination: Destination,
    verdicts: Sequence[Verdict],
) -> list[Delivery]:
    """Claim the signals that this transaction has locked, each with an open attempt, or reject them."""
    # one JSON array: asyncpg takes several times as long for arrays
    given = _encode(list(map(_verdict_row, verdicts))).decode()
    rows = await connection.fetch(_SQL["claim"], claim_id, lease_seconds, destination.key, given)
    attempts = {row["id"]: row for row in rows}
    return [
        _delivery(verdict, attempts[verdict.signal.id], claim_id, destination)
        for verdict in verdicts
        if verdict.signal.id in attempts
    ]


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

    id: UUID
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
        verdict.signal.id,
        reason,
        code,
        params,
        intent,
        quantity,
        unit,
        sentiment,
        verdict.detail or None,
    )


async def record_delivered(
    connection: Connection, *, orders: Sequence[DeliveredOrder]
) -> dict[UUID, DeliveredChange]:
    """Record successes of different tickers in one commit: attempts, signals, positions, events, circuit.

    Return the changes by signal.
    """
    rows = await connection.fetch(
        _SQL["record_delivered"], _encode(orders).decode(), ReasonCode.DELIVERED.english
    )
    return {row["id"]: DeliveredChange(*row) for row in rows}


async def read_ended_attempt(connection: Connection, *, attempt: int) -> bool | None:
    """Return None while the attempt is open, else whether no other order of its ticker has ended since."""
    is_newest: bool | None = await connection.fetchval(_SQL["read_ended_attempt"], attempt)
    return is_newest


async def lock_position(connection: Connection, *, ticker: str) -> HeldPosition | None:
    """Lock the open position of a ticker until the transaction ends; None if nothing is open."""
    row = await connection.fetchrow(_SQL["lock_position"], ticker)
    return _held(*row) if row else None


async def write_unknown(
    connection: Connection, *, ticker: str, signal: UUID, before: HeldPosition | None, position: Position
) -> None:
    """Write what an order of unknown outcome may have left open, unconfirmed.

    `before`: what `lock_position` returned. A position that is open since counts as of unknown quantity.
    """
    values = position.quantity, position.average_price, position.realized
    await connection.execute(_SQL["write_unknown"], ticker, signal, *values, before.id if before else None)


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


async def hold_destination(
    connection: Connection, *, destination: str, seconds: float, reason: Reason
) -> None:
    """Send nothing to the destination for so many seconds. A longer hold stays. Locks its row."""
    await connection.execute(_SQL["hold_destination"], destination, seconds, *reason.columns())


async def read_hold_reason(connection: Connection, *, destination: str) -> str | None:
    """Return why the destination is held or its circuit open; None while neither is so."""
    reason: str | None = await connection.fetchval(_SQL["read_hold_reason"], destination)
    return reason


async def lock_abandoned(connection: Connection, *, known: Sequence[int]) -> list[AbandonedAttempt]:
    """Lock the signals of up to 500 open attempts whose lease has run out, skipping locked ones.

    `known` are attempts that are passed over.
    """
    return list(map(_abandoned, await connection.fetch(_SQL["lock_abandoned"], known)))


def _abandoned(row: asyncpg.Record) -> AbandonedAttempt:
    columns = (row[name] for name in ("type", "intent", "quantity", "quantity_unit", "sentiment", "price"))
    return AbandonedAttempt(
        **{name: row[name] for name in ("attempt", "id", "type", "ticker", "claim_id")},
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


async def expire(connection: Connection, *, limit: int) -> list[ExpiredSignal]:
    """Expire up to `limit` signals that are past their age, skipping locked ones."""
    return list(map(ExpiredSignal._make, await connection.fetch(_SQL["expire"], limit, _EXPIRY_REASONS)))


async def reject_orphans(connection: Connection, *, tickers: Sequence[str]) -> list[EndedSignal]:
    """Reject the sells that have nothing to close, after a buy of these tickers ended undelivered."""
    rows = await connection.fetch(_SQL["reject_orphans"], tickers, ReasonCode.BUY_UNDELIVERED.english)
    return list(map(EndedSignal._make, rows))


async def find_unsent_entries(connection: Connection | Pool, *, tickers: Sequence[str] | None) -> list[UUID]:
    """Return the buys of these tickers (None: of all) that have not left, decided or not."""
    return [row["id"] for row in await connection.fetch(_SQL["find_unsent_entries"], tickers)]


async def end_entries(connection: Connection, *, ids: Sequence[UUID], reason: Reason) -> list[EndedSignal]:
    """Reject those of the buys that have not left; return them."""
    rows = await connection.fetch(_SQL["end_entries"], ids, *reason.columns())
    return list(map(EndedSignal._make, rows))


async def has_unsent_entries(connection: Connection | Pool, *, until_seq: int | None = None) -> bool:
    """Return whether a buy, up to the signal `until_seq` if that is given, has not left, decided or not."""
    found: bool = await connection.fetchval(_SQL["has_unsent_entries"], until_seq)
    return found


async def end_unlocked_entries(
    connection: Connection, *, reason: Reason, until_seq: int | None = None
) -> list[EndedSignal]:
    """Reject the buys, up to the signal `until_seq`, that have not left; return them.

    It waits for no row: a buy that another transaction has locked is passed over.
    """
    rows = await connection.fetch(_SQL["end_unlocked_entries"], until_seq, *reason.columns())
    return list(map(EndedSignal._make, rows))


async def store_paper_delivery(pool: Pool, *, webhook_id: str, headers: dict[str, str], body: bytes) -> None:
    """Store a request that no destination receives."""
    await pool.execute(_SQL["store_paper_delivery"], webhook_id, headers, body)


async def lock_circuit(connection: Connection, *, destination: str) -> Circuit | None:
    """Lock the destination's row and return its circuit; None if it has no row yet."""
    row = await connection.fetchrow(_SQL["lock_circuit"], destination)
    return Circuit._make(row) if row else None


async def read_recent_attempts(connection: Connection, *, destination: str, limit: int) -> list[Attempt]:
    """Return the latest ended attempts that show how the destination works, newest first."""
    rows = await connection.fetch(_SQL["read_recent_attempts"], destination, list(OWN_ERRORS), limit)
    return [Attempt(*row) for row in rows]


async def open_circuit(connection: Connection, *, destination: str, probe_in: float, reason: Reason) -> bool:
    """Open the circuit, with a first probe in `probe_in` seconds; return False if it is open already."""
    return bool(await connection.fetchval(_SQL["open_circuit"], destination, probe_in, *reason.columns()))


async def record_failed_probe(
    connection: Connection, *, destination: str, probe_in: float, reason: Reason
) -> None:
    """Count a failed probe; the next one may start in `probe_in` seconds."""
    await connection.execute(_SQL["record_failed_probe"], destination, probe_in, *reason.columns())


async def close_circuit(connection: Connection, *, destination: str) -> bool:
    """Close the circuit; return whether it was open."""
    return bool(await connection.fetchval(_SQL["close_circuit"], destination))


async def is_circuit_open(connection: Connection, *, destination: str) -> bool:
    """Return whether the circuit is open."""
    return bool(await connection.fetchval(_SQL["is_circuit_open"], destination))


async def read_circuit_reason(connection: Connection, *, destination: str) -> Reason | None:
    """Return the reason of the failure that keeps the circuit open; None while it is closed."""
    row = await connection.fetchrow(_SQL["read_circuit_reason"], destination)
    return stored_reason(*row) if row else None


async def read_dead_letters(
    connection: Connection, *, wanted: SignalFilter, before_seq: int | None, limit: int
) -> list[DeadLetter]:
    """Return the failed and expired signals of a filter before a `seq`, newest first."""
    rows = await connection.fetch(_SQL["read_dead_letters"], *wanted.arguments, before_seq, limit)
    return [DeadLetter(**row) for row in rows]


async def read_replay_candidates(
    connection: Connection,
    *,
    wanted: SignalFilter,
    ids: list[UUID] | None,
    limit: int,
    is_buying: bool,
    with_unknown: bool,
) -> list[ReplayCandidate]:
    """Return the failed and expired signals of a filter, oldest first; `ids` None is any.

    While buying is paused, every entry is blocked. Without `with_unknown`, entries that the destination may
    have executed are left out.
    """
    rows = await connection.fetch(
        _SQL["read_replay_candidates"], *wanted.arguments, ids, limit, is_buying, with_unknown
    )
    return list(map(ReplayCandidate._make, rows))


async def start_round(
    connection: Connection, *, ids: list[UUID], buy_seconds: float, other_seconds: float
) -> int:
    """Approve failed and expired signals again, in a new round; return how many.

    A buy expires `buy_seconds` from now, any other signal `other_seconds`.
    """
    rows = await connection.fetch(
        _SQL["start_round"], ids, buy_seconds, other_seconds, ReasonCode.REPLAYED.english
    )
    return len(rows)
