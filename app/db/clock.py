"""The clock of the process: the database's, which also sets the times of signals, attempts and holds.

Between two queries the monotonic clock advances it, so a step of the machine's clock has no effect.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog

from app import metrics
from app.db.pool import Connection, Pool

log = structlog.get_logger(__name__)

DIFFERS_FROM_SECONDS = 5.0
EVERY_SECONDS = 5.0
_SLOW_SECONDS = 1.0  # a slower answer is too imprecise


def machine_clock() -> datetime:
    """Return the machine's time."""
    return datetime.now(UTC)


async def read_time(database: Connection | Pool) -> datetime:
    """Return the time of the database's clock, UTC."""
    now: datetime = await database.fetchval("SELECT clock_timestamp()")
    return now


class ClockStep(NamedTuple):
    """By how many seconds the database's clock stepped (negative: back), and when on the monotonic clock."""

    seconds: float
    noticed_at: float


class DatabaseClock:
    """The database's time; the machine's until the database has answered for the first time.

    `step` is the latest step of the database's clock that was noticed.
    """

    def __init__(self, machine: Callable[[], datetime] = machine_clock) -> None:
        self.machine = machine
        self.step: ClockStep | None = None
        self._at: datetime | None = None
        self._counted = 0.0
        self._uncertain = 0.0

    def now(self) -> datetime:
        """Return the database's time of this moment."""
        if self._at is None:
            return self.machine()
        return self._at + timedelta(seconds=time.monotonic() - self._counted)

    @property
    def difference(self) -> float:
        """Seconds by which the machine's clock is ahead of the database's, less the query's uncertainty."""
        if self._at is None:
            return 0.0
        seconds = (self.machine() - self.now()).total_seconds()
        return max(0.0, seconds - self._uncertain) if seconds > 0 else min(0.0, seconds + self._uncertain)

    @property
    def differs(self) -> bool:
        """Whether the difference is large enough for an alarm."""
        return abs(self.difference) >= DIFFERS_FROM_SECONDS

    async def look(self, pool: Pool) -> None:
        """Query the database's time; a slow answer is ignored."""
        async with pool.acquire(timeout=5) as connection:
            asked = time.monotonic()
            at = await read_time(connection)
            took = time.monotonic() - asked
        if took <= _SLOW_SECONDS:
            self._at, self._counted, self._uncertain = at, asked + took / 2, took / 2

    def note_step(self, seconds: float) -> None:
        """Record a step of this many seconds (negative: back) for `/health` and the alarms."""
        self.step = ClockStep(seconds, time.monotonic())
        log.error("the database's clock stepped", seconds=round(seconds, 1))


async def run(clock: DatabaseClock, pool: Pool, beat: Callable[[], None]) -> None:
    """Query the database's time every five seconds."""
    while True:
        beat()
        await clock.look(pool)
        metrics.CLOCK_DIFFERENCE_SECONDS.set(clock.difference)
        await asyncio.sleep(EVERY_SECONDS)
