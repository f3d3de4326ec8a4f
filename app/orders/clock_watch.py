"""The database's clock as deliveries see it: steps are noticed, logged, and no stored time outlives them.

Every stored time is the database's. When its clock steps back (NTP, a resumed machine, a restore elsewhere),
times that were written before lie ahead: they must not keep an exit waiting until the clock has caught up.
"""

import time
from datetime import datetime

import structlog

from app.context import AppContext
from app.db.pool import Connection
from app.db.queries import load
from app.orders.breaker import LONGEST_PAUSE_SECONDS
from app.orders.policy import LONGEST_HOLD_SECONDS

log = structlog.get_logger(__name__)

# Shorter ones are jitter of a busy machine, and what they delay is as short.
_NOTICED_SECONDS = 2.0
# The longest time-out of a request, and what a sender has on top to write the outcome down.
_LONGEST_LEASE_SECONDS = 75.0
_JITTER = 1.2  # a retry's pause is spread by so much at most
_SQL = load("app.orders")


class ClockWatch:
    """Compares the database's clock with this process's monotonic one, and clamps stored times."""

    def __init__(self) -> None:
        self._before: tuple[datetime, float, float] | None = None

    async def look(self, context: AppContext, connection: Connection) -> None:
        """Notice a step since the last look; bring what lies too far ahead back to now."""
        retries = max(context.config.webhook.retry_seconds) * _JITTER
        asked = time.monotonic()
        row = await connection.fetchrow(
            _SQL["clamp"],
            LONGEST_HOLD_SECONDS,
            LONGEST_PAUSE_SECONDS,
            max(retries, LONGEST_PAUSE_SECONDS * 1.5),
            _LONGEST_LEASE_SECONDS,
        )
        answered = time.monotonic()
        if row is None:
            raise RuntimeError("a query without FROM answers one row, always")
        if row["clamped"]:
            log.error("stored times lay ahead of the database's clock", clamped=row["clamped"])
            context.clock.note_step(-row["ahead_seconds"])
        if (step := self._step(row["now"], asked, answered)) is not None:
            context.clock.note_step(step)

    def _step(self, now: datetime, asked: float, answered: float) -> float | None:
        """Return by how much the clock went wrong; the answer was made at some moment between the two."""
        before, self._before = self._before, (now, asked, answered)
        if before is None:
            return None
        passed = (now - before[0]).total_seconds()
        least, most = asked - before[2], answered - before[1]
        step = passed - most if passed > most else min(0.0, passed - least)
        return step if abs(step) > _NOTICED_SECONDS else None
