"""Detect steps of the database's clock, and correct stored times that a step back leaves in the future.

Every stored time is the database's. When its clock steps back (NTP, a resumed machine, a restore elsewhere),
times that were stored before are ahead of it. No exit may wait until the clock has caught up with them.
"""

import time
from datetime import datetime

import structlog

from app.context import AppContext
from app.db.pool import Connection
from app.orders import repository
from app.orders.destination import LONGEST_PROBE_DELAY_SECONDS, PROBE_RETRY_FACTOR
from app.orders.policy import LONGEST_HOLD_SECONDS, RETRY_JITTER

log = structlog.get_logger(__name__)

# Smaller steps are the jitter of a busy machine, and delay an exit by no more than themselves.
_SMALLEST_STEP_SECONDS = 2.0
# The longest request timeout, and a sender's margin to record the outcome.
LONGEST_LEASE_SECONDS = 75.0


class ClockWatch:
    """Compares the database's clock with this process's monotonic one, and clamps stored times."""

    def __init__(self) -> None:
        self._before: tuple[datetime, float, float] | None = None

    async def check(self, context: AppContext, connection: Connection) -> None:
        """Report a step since the last check; bring times that are too far ahead back to now."""
        retries = max(context.config.webhook.retry_seconds) * (1 + RETRY_JITTER)
        asked = time.monotonic()
        times = await repository.clamp_times(
            connection,
            longest_hold=LONGEST_HOLD_SECONDS,
            longest_probe_delay=LONGEST_PROBE_DELAY_SECONDS,
            longest_retry_delay=max(retries, LONGEST_PROBE_DELAY_SECONDS * PROBE_RETRY_FACTOR),
            longest_lease=LONGEST_LEASE_SECONDS,
        )
        answered = time.monotonic()
        if times.clamped:
            log.error("stored times lay ahead of the database's clock", clamped=times.clamped)
            context.clock.note_step(-times.ahead_seconds)
        if (step := self._step(times.now, asked, answered)) is not None:
            context.clock.note_step(step)

    def _step(self, now: datetime, asked: float, answered: float) -> float | None:
        """Return the step in seconds; `now` was read between `asked` and `answered`."""
        before, self._before = self._before, (now, asked, answered)
        if before is None:
            return None
        passed = (now - before[0]).total_seconds()
        least, most = asked - before[2], answered - before[1]
        step = passed - most if passed > most else min(0.0, passed - least)
        return step if abs(step) > _SMALLEST_STEP_SECONDS else None
