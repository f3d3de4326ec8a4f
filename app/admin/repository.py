"""The statements of `queries.sql` as typed functions: what the admin page and its API read."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from app.admin.schemas import (
    Attempt,
    AuditEntry,
    AuditPage,
    Changes,
    DeliveryOrder,
    Event,
    Hour,
    Metrics,
    OrderPage,
    OrderStats,
    PositionsSummary,
    RefusedPage,
    RefusedPost,
    Signal,
    SignalPage,
    Story,
)
from app.config.masking import MASKED_LISTS, masked_stored
from app.db.pool import Connection
from app.db.queries import fetch_one, load
from app.db.reading import ReadingPool
from app.orders.destination import Destination
from app.orders.policy import reference_of
from app.signals.selection import SignalFilter
from app.signals.statuses import Outcome

_SQL = load("app.admin")


class ActionRow(NamedTuple):
    """An entry of the actions log; `before` and `after` are JSON."""

    id: int
    at: datetime
    session: str
    origin: str
    action: str
    target: str
    before: str | None
    after: str | None
    result: str
    actor: str | None  # the last column of the CSV: programs read the others by their place
    result_code: str | None
    result_params: dict[str, Any] | None


async def fetch_signals(
    database: Connection | ReadingPool, *, wanted: SignalFilter, before_seq: int | None, limit: int
) -> SignalPage:
    """Return at most `limit` signals of a filter, newest first; imported history follows what came here.

    Imported rows are inserted last, whenever they arrived: by insertion alone they would be the newest.
    """
    at = await database.fetch(_SQL["is_imported"], before_seq) if before_seq else []
    is_in_history = any(row["is_imported"] for row in at)
    rows: list[asyncpg.Record] = []
    if not is_in_history:
        rows += await _fetch_part(database, wanted, before_seq, limit + 1, is_imported=False)
    if len(rows) <= limit:
        cursor, left = before_seq if is_in_history else None, limit + 1 - len(rows)
        rows += await _fetch_part(database, wanted, cursor, left, is_imported=True)
    return SignalPage(
        signals=[Signal(**row) for row in rows[:limit]], next_cursor=_cursor(rows, limit, "seq")
    )


async def _fetch_part(
    database: Connection | ReadingPool,
    wanted: SignalFilter,
    before_seq: int | None,
    limit: int,
    *,
    is_imported: bool,
) -> list[asyncpg.Record]:
    return await database.fetch(_SQL["signals"], *wanted.arguments, before_seq, limit, is_imported)


def _cursor(rows: Sequence[asyncpg.Record], limit: int, column: str) -> int | None:
    """Return the cursor of the next page, if there is one; one row more than `limit` was read."""
    return rows[limit - 1][column] if len(rows) > limit else None


async def fetch_timeline(connection: Connection, *, signal_id: UUID) -> Story | None:
    """Return a signal with its events and attempts, from one snapshot; None if there is none with this id."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(_SQL["signal"], signal_id)
        if row is None:
            return None
        events = await connection.fetch(_SQL["events"], signal_id)
        attempts = await connection.fetch(_SQL["attempts"], signal_id)
    return Story(
        signal=Signal(**row),
        body=row["body"],
        events=[Event(**event) for event in events],
        attempts=[_attempt(attempt) for attempt in attempts],
    )


class Neighbours(NamedTuple):
    """The ids of the next newer and the next older signal; None at the ends."""

    newer: UUID | None
    older: UUID | None


class DeliveryFigures(NamedTuple):
    """The orders of the last 24 hours that have ended; the seconds are None without a delivery."""

    delivered: int
    ended: int
    median_seconds: float | None
    p95_seconds: float | None


async def fetch_delivery_figures(connection: Connection) -> DeliveryFigures:
    """Return how many orders of the last 24 hours were delivered, and how long that took."""
    return DeliveryFigures(**await fetch_one(connection, _SQL["delivery_figures"]))


class WaitFacts(NamedTuple):
    """What an unfinished signal may wait for; `behind` is the order of its ticker that leaves first."""

    status: str
    type: str | None
    not_before: datetime | None
    destination: str
    held_until: datetime | None
    probe_at: datetime | None
    behind: UUID | None
    behind_type: str | None
    gap_until: datetime | None


async def fetch_neighbours(connection: Connection, *, seq: int) -> Neighbours:
    """Return the signals before and after one in the order of arrival."""
    return Neighbours(**await fetch_one(connection, _SQL["neighbours"], seq))


async def fetch_wait_facts(
    connection: Connection, *, signal_id: UUID, destinations: Sequence[Destination], gaps: Sequence[int]
) -> WaitFacts | None:
    """Return what a signal may wait for; None if it has ended. `gaps` are those of the destinations."""
    names, keys = [each.name for each in destinations], [each.key for each in destinations]
    row = await connection.fetchrow(_SQL["wait_facts"], signal_id, names, keys, gaps)
    return WaitFacts(**row) if row else None


def _attempt(row: asyncpg.Record) -> Attempt:
    is_delivered = row["outcome"] == Outcome.DELIVERED
    return Attempt(**row, reference=reference_of(row["response"] or b"") if is_delivered else None)


async def fetch_metrics(connection: Connection) -> Metrics:
    """Count the signals of the last 24 hours, and those that wait for a decision and for delivery."""
    counts = await fetch_one(connection, _SQL["counts"])
    return Metrics(**counts, **await fetch_one(connection, _SQL["waiting"]))


async def fetch_changes(connection: Connection) -> Changes:
    """Return what differs after any change of any signal."""
    return Changes(**await fetch_one(connection, _SQL["changes"]))


async def fetch_positions_summary(connection: Connection) -> PositionsSummary:
    """Count the open positions."""
    return PositionsSummary(**await fetch_one(connection, _SQL["positions"]))


async def fetch_refused_posts(connection: Connection, *, before_id: int | None, limit: int) -> RefusedPage:
    """Return at most `limit` refused posts, newest first."""
    rows = await connection.fetch(_SQL["refused"], before_id, limit + 1)
    posts = [RefusedPost(**row) for row in rows[:limit]]
    return RefusedPage(posts=posts, next_cursor=_cursor(rows, limit, "id"))


async def fetch_audit_trail(
    connection: Connection, *, before_id: int | None, limit: int, ticker: str | None
) -> AuditPage:
    """Return at most `limit` changes of all signals or of a ticker's, newest first."""
    if ticker is None:
        rows = await connection.fetch(_SQL["audit"], before_id, limit + 1)
    else:
        rows = await connection.fetch(_SQL["audit_of_ticker"], before_id, limit + 1, ticker)
    entries = [AuditEntry(**row) for row in rows[:limit]]
    return AuditPage(entries=entries, next_cursor=_cursor(rows, limit, "id"))


async def fetch_orders(
    connection: Connection, *, before_seq: int | None, limit: int, ticker: str | None, status: str | None
) -> OrderPage:
    """Return at most `limit` approved signals with their last attempt, newest first.

    None leaves a filter out.
    """
    rows = await connection.fetch(_SQL["orders"], before_seq, limit + 1, ticker, status)
    found = [DeliveryOrder(**row) for row in rows[:limit]]
    return OrderPage(orders=found, next_cursor=_cursor(rows, limit, "seq"))


async def fetch_order_stats(connection: Connection, *, hours: int) -> list[OrderStats]:
    """Count the orders of the last hours by type."""
    return [OrderStats(**row) for row in await connection.fetch(_SQL["order_stats"], hours)]


async def fetch_hourly_counts(connection: Connection, *, hours: int) -> list[Hour]:
    """Count the signals of the last hours, this one included, by hour, oldest first."""
    return [Hour(**row) for row in await connection.fetch(_SQL["history"], hours)]


async def fetch_actions(
    database: Connection | ReadingPool,
    *,
    before_id: int | None,
    limit: int,
    prefix: str | None = None,
    is_done: bool | None = None,
) -> list[ActionRow]:
    """Return entries of the actions log, newest first; None leaves a filter out.

    `prefix` is how the action begins. `is_done` selects actions that were done, or else refused ones.
    `before` and `after` have no secret, whichever version stored them.
    """
    rows = await database.fetch(_SQL["actions"], before_id, limit, prefix, is_done)
    values = ({**row, "before": _masked(row["before"]), "after": _masked(row["after"])} for row in rows)
    return [ActionRow(**each) for each in values]


def _masked(text: str | None) -> str | None:
    if text is None or not any(f'"{listed}' in text for listed in MASKED_LISTS):
        return text
    return json.dumps(masked_stored(json.loads(text)))
