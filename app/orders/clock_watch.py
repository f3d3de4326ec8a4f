"""Detect steps of the database's clock, and correct stored times that a step back leaves in the future.

Every stored time is the database's. When its clock steps back (NTP, a resumed machine, a restore elsewhere),
times that were stored before are ahead of it. No exit may wait until the clock has caught up with them, be
taken for a duplicate, or follow an entry that is older than allowed.

A running process knows the size of the step, and moves these times back by it. After a start it knows only by
how much the newest stored time is ahead: the step was larger by the time that has passed since.
Fails open: exits keep their full age, holds and keys end early.
Fails closed: an entry or a list of unknown age expires.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.context import AppContext
from app.db.pool import Connection
from app.orders import clock_repository, destinations_repository
from app.orders.clock_repository import ClockReading
from app.orders.destination import LONGEST_PROBE_DELAY_SECONDS, PROBE_RETRY_FACTOR, destination_of
from app.orders.policy import LONGEST_HOLD_SECONDS, RETRY_JITTER
from app.screener import repository as screener

log = structlog.get_logger(__name__)

# Smaller steps are the jitter of a busy machine, and delay an exit by no more than themselves.
_SMALLEST_STEP_SECONDS = 2.0
# The longest request timeout, and a sender's margin to record the outcome.
LONGEST_LEASE_SECONDS = 75.0
_BATCH = 1000  # signals in one transaction


@dataclass(slots=True)
class _Correction:
    """What remains to be corrected after a step back of `seconds`, 0 after a start.

    `before` was read before the step. `stored_before` is a time of the new clock, before which everything was
    stored before the step. Both are None once what they prove is corrected, and after a start.
    """

    seconds: float
    before: ClockReading | None = None
    stored_before: datetime | None = None


class ClockWatch:
    """Compares the database's clock with this process's monotonic one, and corrects stored times."""

    def __init__(self) -> None:
        self._before: tuple[ClockReading, float, float] | None = None
        self._correction: _Correction | None = _Correction(0.0)

    async def check(self, context: AppContext, connection: Connection, name: str) -> None:
        """Report a step since the last check; correct times that are ahead. Beats as the worker `name`."""
        before = self._before[0] if self._before else None
        asked = time.monotonic()
        reading = await clock_repository.read_clock(connection)
        answered = time.monotonic()
        step, elapsed = self._step(reading, asked, answered)
        if step is not None:
            context.clock.note_step(step)
            if step < 0:
                stored_before = reading.now - timedelta(seconds=elapsed)
                self._correction = _Correction(-step, before, stored_before)
        if self._correction is not None:
            await self._correct(context, connection, name, self._correction)
        await self._clamp(context, connection)

    async def _correct(
        self, context: AppContext, connection: Connection, name: str, correction: _Correction
    ) -> None:
        """Move what is ahead of the clock back. What is locked or fails is corrected at the next check."""
        ahead = await clock_repository.read_seconds_ahead(connection)
        seconds = max(correction.seconds, ahead)
        is_age_unknown = not correction.seconds and ahead > _SMALLEST_STEP_SECONDS
        if is_age_unknown:
            log.error("stored times were ahead of the database's clock", seconds=round(ahead, 1))
            context.clock.note_step(-ahead)
        await self._release_destinations(context, connection)
        if seconds > 0:
            async with connection.transaction():
                await clock_repository.lock_corrections(connection)
                if not await self._is_uncorrected(connection, correction.before):
                    correction.before = correction.stored_before = None
                await clock_repository.shift_pending(
                    connection,
                    seconds=seconds,
                    is_age_unknown=is_age_unknown,
                    last_seq=correction.before.last_seq if correction.before else None,
                )
            await screener.shift_times(
                connection,
                seconds=seconds,
                is_age_unknown=is_age_unknown,
                stored_before=correction.stored_before,
            )
            correction.before = correction.stored_before = None
            await clock_repository.shift_positions(connection, seconds=seconds)
            while await clock_repository.shift_ended(connection, seconds=seconds, limit=_BATCH) == _BATCH:
                context.supervisor.beat(name)
            context.wakeups.notify("changed")
        if not await clock_repository.has_pending_ahead(connection):
            self._correction = None

    @staticmethod
    async def _is_uncorrected(connection: Connection, before: ClockReading | None) -> bool:
        """Return whether no other process has corrected the signals since this reading."""
        if before is None or before.buy is None or before.buy_expires_at is None:
            return True
        return await clock_repository.has_later_expiry(
            connection, signal=before.buy, expires_at=before.buy_expires_at
        )

    @staticmethod
    async def _release_destinations(context: AppContext, connection: Connection) -> None:
        """Move holds and probes back with the ends of the attempts that set them."""
        current = [destination_of(each.url, each.name).key for each in context.config.destinations]
        for destination in await destinations_repository.read_ends_ahead(connection, current=current):
            async with connection.transaction():
                await destinations_repository.lock_limiter(connection, destination=destination)
                ends = await destinations_repository.read_ends_ahead(connection, current=current)
                if destination in ends:
                    await destinations_repository.move_ends_back(
                        connection, destination=destination, seconds=ends[destination]
                    )
        context.wakeups.notify("approved")

    @staticmethod
    async def _clamp(context: AppContext, connection: Connection) -> None:
        """Bring times that are further ahead than they can have been set back to now."""
        retries = max(context.config.webhook.retry_seconds) * (1 + RETRY_JITTER)
        times = await clock_repository.clamp_times(
            connection,
            longest_hold=LONGEST_HOLD_SECONDS,
            longest_probe_delay=LONGEST_PROBE_DELAY_SECONDS,
            longest_retry_delay=max(retries, LONGEST_PROBE_DELAY_SECONDS * PROBE_RETRY_FACTOR),
            longest_lease=LONGEST_LEASE_SECONDS,
        )
        if times.clamped:
            log.error("stored times were ahead of the database's clock", clamped=times.clamped)
            context.clock.note_step(-times.ahead_seconds)

    def _step(self, reading: ClockReading, asked: float, answered: float) -> tuple[float | None, float]:
        """Return the step in seconds, and the most that has passed since the last reading.

        The reading was made between `asked` and `answered`.
        """
        before, self._before = self._before, (reading, asked, answered)
        if before is None:
            return None, 0.0
        passed = (reading.now - before[0].now).total_seconds()
        least, most = asked - before[2], answered - before[1]
        step = passed - most if passed > most else min(0.0, passed - least)
        return (step if abs(step) > _SMALLEST_STEP_SECONDS else None), most
