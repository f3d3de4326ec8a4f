"""The statements of `clock.sql` as typed functions: stored times after the database's clock stepped back.

Durations are in seconds. Each function runs in the caller's transaction, if there is one.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.db.pool import Connection
from app.db.queries import fetch_one, load

_SQL = load("app.orders", "clock")


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

    In the caller's transaction: their orders follow in a second statement.
    Buys up to `last_seq` move whatever their times are. With `is_age_unknown` the moved buys expire.
    """
    rows = await connection.fetch(_SQL["shift_pending"], seconds, is_age_unknown, last_seq)
    if rows:
        await connection.execute(_SQL["shift_orders"], [row["id"] for row in rows])
    return len(rows)


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
