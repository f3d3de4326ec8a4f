"""The statements of decisions and of reprocessing."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.config.access import DEFAULT_SOURCE
from app.db.pool import Connection, Pool
from app.db.queries import load
from app.decision.batch import ClaimedSignal, TickerBook, UnfinishedOrder
from app.decision.destinations import NewOrder
from app.decision.record import BatchInputs, stored_form
from app.decision.risk import RiskCounts
from app.decision.rules import Decision, ListFacts
from app.signals.book import Book, PendingOrder, Position, stored_terms, terms_columns
from app.signals.reading import Sentiment
from app.signals.reasons import Reason
from app.signals.statuses import OrderStatus, Status

_SQL = load("app.decision")
_encode = msgspec.json.Encoder().encode
# Each batch reads and applies the pending orders of its tickers, so their number is bounded.
_MOST_PENDING = 8
# Fails closed: entries wait if the counts are not read in time. Exits that people place wait for the shared
# approval lock, and an exit of the same ticker for the entry's decision, but for no longer than this.
_COUNT_SECONDS = 1.0


class Claim(StrEnum):
    """Which signals a batch decides.

    With `EXITS` an exit passes the undecided buys of its ticker, except for a reduction or adjustment of what
    such a buy will open. With `ENTRIES` no buy passes an exit of its ticker.
    """

    ALL = "all"
    EXITS = "exits"
    ENTRIES = "entries"


class Claimed(NamedTuple):
    """The signals of a batch in order of arrival, and the books of their tickers by destination.

    `list_id` and `list_fetched_at` are those of the list that their facts are from, None without one.
    A destination that is not configured has books of the tickers that are open or unfinished there.
    `has_exits_waiting`: exits of these tickers stay undecided; with `Claim.EXITS`, because another batch
    decides an entry of their ticker.
    """

    signals: list[ClaimedSignal]
    books: Mapping[str, Mapping[str, TickerBook]]
    list_id: int | None = None
    list_fetched_at: datetime | None = None
    has_exits_waiting: bool = False


Takes = Callable[[str, str], bool]
"""Whether a destination takes an alert of this source and ticker."""


class PendingList(NamedTuple):
    """A Top-N list that reprocessing has yet to process, and the tickers that entered with it."""

    id: int
    strategy: str
    entered: Sequence[str]


class CurrentList(NamedTuple):
    """A strategy's current list: its tickers by rank, and its age in seconds."""

    id: int
    fetched_at: datetime
    tickers: Sequence[str]
    age_seconds: float


class Candidate(NamedTuple):
    """A rejected buy that may be approved. `free`: the destinations where nothing of its ticker is open."""

    ticker: str
    id: UUID
    seq: int
    type: str
    body: bytes
    source: str
    free: Sequence[str]


class Approval(NamedTuple):
    """A rejected buy to approve, the reason, the facts behind it, and the destinations of its orders."""

    signal_id: UUID
    reason: Reason
    detail: dict[str, Any]
    destinations: Sequence[str]


async def claim_signals(
    connection: Connection,
    *,
    claim: Claim,
    limit: int,
    strategy: str,
    is_frozen: bool,
    destinations: Mapping[str, Takes],
) -> Claimed:
    """Claim at most `limit` undecided signals from the front of the queue.

    The claim lasts until the transaction ends: the first undecided row of each ticker is locked for all its
    rows. `is_frozen`: the engine is paused, so the strategy's list counts as fresh. `destinations` are the
    configured ones, with what each takes; any other takes nothing.
    """
    rows = await connection.fetch(
        _SQL["claim_signals"], limit, strategy, is_frozen, _MOST_PENDING + 1, claim, list(destinations)
    )
    if not rows:
        return Claimed([], {})
    signals = [
        ClaimedSignal(
            **{name: row[name] for name in ("id", "seq", "ticker", "type", "body", "is_expired")},
            facts=ListFacts(row["rank"], row["list_size"], row["list_age_seconds"]),
            source=row["source"] or DEFAULT_SOURCE,
        )
        for row in rows
    ]
    books: dict[str, dict[str, TickerBook]] = {name: {} for name in destinations}
    for row in rows:
        for name, stored in (row["books"] or {}).items():  # the first row of a ticker has them
            takes = destinations.get(name, lambda *_: False)
            books.setdefault(name, {})[row["ticker"]] = _book(row["ticker"], stored, row["undecided"], takes)
    claimed = Claimed(signals, books, rows[0]["list_id"], rows[0]["list_fetched_at"])
    if claim is Claim.ALL:
        return claimed
    tickers = list(dict.fromkeys(signal.ticker for signal in signals))
    if claim is Claim.EXITS:
        free = await _lock_first_undecided(connection, tickers)
        return claimed._replace(
            signals=[each for each in signals if each.ticker in free],
            has_exits_waiting=len(free) < len(tickers),
        )
    exits = await _find_undecided_exits(connection, tickers)
    locked = await _lock_entries(connection, signals, exits)
    return claimed._replace(signals=locked, has_exits_waiting=bool(exits))


async def _lock_first_undecided(connection: Connection, tickers: Sequence[str]) -> set[str]:
    """Lock the first undecided signal of each ticker; return the tickers of which no other batch has it.

    Another batch that decides an entry may have to wait for an exit of this one. So this one, which ends
    entries, waits for nothing.
    """
    rows = await connection.fetch(_SQL["lock_first_undecided"], tickers)
    return {row["ticker"] for row in rows}


async def _find_undecided_exits(connection: Connection, tickers: Sequence[str]) -> dict[str, int]:
    """Return the `seq` of the first undecided exit of each ticker that has one."""
    rows = await connection.fetch(_SQL["find_undecided_exits"], tickers)
    return {row["ticker"]: row["seq"] for row in rows}


async def _lock_entries(
    connection: Connection, signals: Sequence[ClaimedSignal], exits: Mapping[str, int]
) -> list[ClaimedSignal]:
    """Lock the entries that arrived before these exits of their tickers; return those that are undecided."""
    first = [each for each in signals if each.seq < exits.get(each.ticker, each.seq + 1)]
    rows = await connection.fetch(_SQL["lock_entries"], [each.id for each in first])
    locked = {row["id"] for row in rows}
    return [each for each in first if each.id in locked]


async def try_lock_entry_limits(connection: Connection) -> bool:
    """Hold the lock on the limits of entries until the transaction ends; False: another one holds it."""
    is_locked: bool = await connection.fetchval(_SQL["try_lock_entry_limits"])
    return is_locked


def _book(
    ticker: str, row: Mapping[str, Any], undecided: Sequence[Mapping[str, Any]] | None, takes: Takes
) -> TickerBook:
    """Return the book of a ticker at a destination; an undecided buy is pending where it is taken.

    Fails open: of more undecided buys than are read, one may be taken everywhere.
    """
    quantity, sentiment = row["quantity"], row["last_exit"]
    position = None
    if row["is_open"]:
        position = Position(None if quantity is None else Decimal(quantity), row["confirmed"])
    book = Book.of(position, last_exit_sentiment=None if sentiment is None else Sentiment(sentiment))
    orders, buys = row["pending"] or [], undecided or []
    taken = [each for each in buys if takes(each["source"] or DEFAULT_SOURCE, ticker)]
    pending = sorted([*orders, *taken], key=lambda each: each["seq"])
    is_complete = max(len(pending), len(buys)) <= _MOST_PENDING
    if not is_complete:
        pending = pending[-(_MOST_PENDING + 1) :]
        book = book._replace(projected=Position(None), has_pending_entry=True)
    return TickerBook(book, tuple(map(_unfinished, pending)), is_complete)


def _unfinished(row: Mapping[str, Any]) -> UnfinishedOrder:
    quantity = row["quantity"]
    terms = stored_terms(
        row["type"],
        row["intent"],
        None if quantity is None else Decimal(quantity),
        row["unit"],
        row["sentiment"],
    )
    status = row["status"]
    order = PendingOrder(terms, status == OrderStatus.SENDING, is_decided=status != Status.RECEIVED)
    return UnfinishedOrder(UUID(row["id"]), row["seq"], order)


async def find_entries_before(connection: Connection, *, exits: Mapping[str, int]) -> list[UUID]:
    """Return the unfinished entries that arrived before an exit; `exits` are their `seq` by ticker."""
    rows = await connection.fetch(_SQL["find_entries_before"], list(exits), list(exits.values()))
    return [row["id"] for row in rows]


async def store_decisions(
    connection: Connection,
    *,
    inputs: BatchInputs,
    decisions: Sequence[Decision],
    orders: Sequence[Sequence[NewOrder]],
) -> dict[str, int]:
    """Write the decisions, their orders and events, and what they were made by.

    `orders` are those of each decision. Return the number of signals by status.

    A signal that is no longer undecided keeps its status and is not counted.
    """
    # one JSON array: asyncpg takes several times as long for arrays
    given = _encode(list(map(_decision_row, inputs.signals, decisions, orders))).decode()
    ids = [signal.id for signal in inputs.signals]
    rows = await connection.fetch(_SQL["store_decisions"], given, ids, stored_form(inputs))
    return {row["status"]: row["signals"] for row in rows}


async def record_batch(connection: Connection, *, inputs: BatchInputs) -> None:
    """Write what rejected buys were decided by again, so that what-if can repeat it."""
    ids = [signal.id for signal in inputs.signals]
    await connection.execute(_SQL["record_batch"], ids, stored_form(inputs))


class _DecisionRow(msgspec.Struct, omit_defaults=True):
    """A decision as `store_decisions` reads it; the field names are those of the SQL."""

    id: UUID
    status: str
    reason: str
    reason_code: str
    reason_params: dict[str, Any]
    detail: dict[str, Any]
    intent: str | None = None
    quantity: Decimal | None = None
    quantity_unit: str | None = None
    sentiment: str | None = None
    destination: str | None = None
    others: list["_OrderRow"] | None = None


class _OrderRow(msgspec.Struct, omit_defaults=True):
    """An order at another destination than the first; the field names are those of the SQL."""

    destination: str
    intent: str | None = None
    quantity: Decimal | None = None
    quantity_unit: str | None = None
    sentiment: str | None = None


def _decision_row(signal: ClaimedSignal, decision: Decision, orders: Sequence[NewOrder]) -> _DecisionRow:
    reason, code, params = decision.reason.columns()
    intent, quantity, unit, sentiment = terms_columns(decision.terms)
    others = [_OrderRow(order.destination, *terms_columns(order.terms)) for order in orders[1:]]
    return _DecisionRow(
        signal.id,
        decision.status,
        reason,
        code,
        params,
        decision.detail,
        intent,
        quantity,
        unit,
        sentiment,
        orders[0].destination if orders else None,
        others or None,
    )


async def read_risk_counts(
    connection: Connection,
    *,
    tickers: Sequence[str],
    key: str,
    destination: str,
    day_began_at: datetime,
    cooldown_seconds: int,
    most_buys: int,
    counts_positions: bool,
) -> RiskCounts:
    """Return what the risk rules count at a destination (`key` is its key); `tickers` are those of the batch.

    `cooldown_seconds` and `most_buys` are 0 where there is no such rule.
    """
    (row,) = await connection.fetch(
        _SQL["read_risk_counts"],
        *(tickers, key, day_began_at, cooldown_seconds, most_buys, counts_positions, destination),
        timeout=_COUNT_SECONDS,
    )
    return RiskCounts(row["positions"], row["buys_today"], row["since_exit"] or {})


async def has_pending_lists(connection: Connection | Pool) -> bool:
    """Return whether a list with entered tickers waits for reprocessing."""
    found: bool = await connection.fetchval(_SQL["has_pending_lists"])
    return found


async def lock_pending_lists(connection: Connection) -> list[PendingList]:
    """Return up to 20 lists that wait for reprocessing, oldest first, and lock their rows.

    Lists that another process has locked are skipped.
    """
    rows = await connection.fetch(_SQL["lock_pending_lists"])
    return [PendingList(**row) for row in rows]


async def mark_lists_processed(connection: Connection, *, list_ids: Sequence[int]) -> None:
    """Record that the lists are processed; committed with the approvals that follow from them."""
    await connection.execute(_SQL["mark_lists_processed"], list_ids)


async def find_current_list(connection: Connection, *, strategy: str, is_frozen: bool) -> CurrentList | None:
    """Return the strategy's current list, None if there is none or it is stale.

    `is_frozen`: the engine is paused, so the list counts as fresh.
    """
    row = await connection.fetchrow(_SQL["find_current_list"], strategy, is_frozen)
    return CurrentList(**row) if row else None


async def find_candidates(
    connection: Connection,
    *,
    tickers: Sequence[str],
    window_seconds: int,
    max_age_seconds: int,
    sell_window_seconds: int | None,
    destinations: Sequence[str],
) -> list[Candidate]:
    """Return each ticker's newest rejected buy that may be approved, in the order of `tickers`.

    The buy arrived within `window_seconds` and `max_age_seconds` (0: no limit). No sell arrived within
    `sell_window_seconds` after it (0: at any time after it; None: sells do not matter). A ticker has no
    candidate while a buy of it is undecided, or something is open or unfinished at each of `destinations`.
    """
    rows = await connection.fetch(
        *(_SQL["find_candidates"], tickers, window_seconds, max_age_seconds, sell_window_seconds),
        destinations,
    )
    return [Candidate(**row) for row in rows]


async def reject_again(
    connection: Connection, *, signal_ids: Sequence[UUID], reasons: Sequence[Reason]
) -> None:
    """Give rejected buys the reason of the rule that refused their reprocessing, with an event.

    They are not reprocessed again. The caller holds the exclusive approval lock.
    """
    await connection.execute(
        _SQL["reject_again"], signal_ids, *zip(*(reason.columns() for reason in reasons), strict=True)
    )


async def approve_rejected_buys(
    connection: Connection, *, approvals: Sequence[Approval], expires_in_seconds: int
) -> None:
    """Approve rejected buys and write their events; they expire after `expires_in_seconds`.

    The caller holds the exclusive approval lock. A buy that is no longer rejected, or was reprocessed before,
    is not changed.
    """
    ids, reasons, details, _ = zip(*approvals, strict=True)
    columns = zip(*(reason.columns() for reason in reasons), strict=True)
    ordered, names = zip(
        *((each.signal_id, name) for each in approvals for name in each.destinations), strict=True
    )
    await connection.execute(
        _SQL["approve_rejected_buys"], ids, *columns, details, expires_in_seconds, ordered, names
    )
