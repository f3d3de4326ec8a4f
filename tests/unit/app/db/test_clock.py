"""The process has one clock, the database's, and reports by how much the machine's differs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app.alarms.conditions import clock_alarms
from app.db.clock import DatabaseClock, machine_clock
from app.ops import checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class _Database:
    """A pool that answers with this machine's time plus an offset."""

    def __init__(self, moved: timedelta) -> None:
        self._moved = moved

    @asynccontextmanager
    async def acquire(self, **_: float) -> AsyncIterator[_Database]:
        yield self

    async def fetchval(self, _: str) -> datetime:
        return datetime.now(UTC) + self._moved


async def test_the_machines_clock_serves_until_the_database_has_answered() -> None:
    clock = DatabaseClock()
    assert abs(clock.now() - machine_clock()) < timedelta(seconds=60)
    assert (clock.difference, clock.differs, clock_alarms(clock)) == (0.0, False, [])


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_difference_is_logged(hours: int) -> None:
    clock, database = DatabaseClock(), _Database(timedelta(hours=hours))
    pool: Any = database
    await clock.look(pool)
    assert abs(clock.now() - machine_clock() - timedelta(hours=hours)) < timedelta(seconds=60)
    assert abs(clock.difference + hours * 3600) < 60
    assert [alarm.code for alarm in clock_alarms(clock)] == ["clock_differs"]
    check = checks.clock(clock.difference, differs=clock.differs)
    assert check["status"] == "degraded"
    assert f"{-hours * 3600:+.0f}"[:2] in check["reason"]


async def test_a_step_of_the_machines_clock_does_not_move_the_time() -> None:
    ahead = timedelta()
    clock = DatabaseClock(lambda: machine_clock() + ahead)
    pool: Any = _Database(timedelta())
    await clock.look(pool)
    assert not clock.differs
    before = clock.now()
    ahead = timedelta(days=1)
    assert clock.now() - before < timedelta(hours=1)
    assert clock.differs
