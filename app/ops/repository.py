"""The statements of `queries.sql` and `retention.sql` as typed functions."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.db.pool import Connection, Pool
from app.db.queries import affected_rows, fetch_one, load

_SQL = load("app.ops")
_RETENTION_SQL = load("app.ops", "retention")

RETENTION_KINDS = tuple(_RETENTION_SQL)


class QueueDepths(NamedTuple):
    """Signals in both queues, and the age of the oldest in each, in seconds; 0 for an empty queue."""

    received: int
    approved: int
    oldest_received: float
    oldest_approved: float


class AtRisk(NamedTuple):
    """What needs a person: one code of an alarm for one subject.

    `subject` is a ticker, followed by the name of the destination where it is about orders at another one
    than `default`; empty where it is about none. `since` and `newest` are the times of the first and the
    last of the `cases`. `position_id` is the open position.
    """

    code: str
    subject: str
    cases: int
    since: datetime
    newest: datetime
    position_id: UUID | None


class ScreenerState(NamedTuple):
    """A strategy's newest list and the error of its last refresh. Ages are in seconds.

    The fields of the list are None before the first list. `refresh_error` is empty if it did not fail.
    """

    list_size: int | None
    list_age: float | None
    list_max_age: int | None
    list_at: datetime | None
    refresh_error: str


class LockWait(NamedTuple):
    """A statement of server process `pid` that has waited `seconds` for a lock of server process `blocker`.

    `is_idle`: the blocker is idle in an open transaction.
    """

    pid: int
    seconds: float
    blocker: int
    is_idle: bool


async def fetch_queue_depths(database: Connection | Pool, *, timeout_seconds: float) -> QueueDepths:
    """Return how many signals wait for a decision and for delivery, and for how long."""
    return QueueDepths(**await fetch_one(database, _SQL["queues"], timeout_seconds=timeout_seconds))


async def fetch_at_risk(
    database: Connection | Pool, *, destinations: Sequence[str], timeout_seconds: float | None = None
) -> list[AtRisk]:
    """Return the exits, positions and orders that need a person, the oldest first.

    `destinations` are keys (`Destination.key`).
    """
    rows = await database.fetch(_SQL["at_risk"], destinations, timeout=timeout_seconds)
    return [AtRisk(**row) for row in rows]


async def fetch_screener_state(database: Connection | Pool, *, strategy: str) -> ScreenerState:
    """Return the strategy's newest list and last refresh."""
    return ScreenerState(**await fetch_one(database, _SQL["probe"], strategy))


async def fetch_lock_waits(
    database: Connection | Pool, *, pids: Sequence[int], longer_than_seconds: float
) -> list[LockWait]:
    """Return which of the server processes have waited for a lock for longer, the longest first."""
    rows = await database.fetch(_SQL["blocked"], pids, longer_than_seconds)
    return [LockWait(**row) for row in rows]


async def delete_outdated(
    database: Connection | Pool, *, kind: str, retention_days: int, batch_size: int
) -> int:
    """Delete one batch of a kind in `RETENTION_KINDS`; return the number of rows deleted.

    Rows that another process is deleting are skipped or waited for: none counts twice.
    """
    return affected_rows(await database.execute(_RETENTION_SQL[kind], retention_days, batch_size))
