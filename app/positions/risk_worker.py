"""The risk rules that act without a signal: entries end while buying is paused; all is sold at the set time.

Every process does so; locks and the row of the schedule decide which one acts.
"""

from datetime import datetime, time, timedelta

import structlog

from app.audit import repository as audit_log
from app.audit.repository import Actor
from app.config.model import SYSTEM_FILE
from app.config.times import parse_time_of_day
from app.context import AppContext
from app.orders.outcomes import end_entries
from app.orders.repository import find_unsent_entries, lock_approvals_exclusive
from app.positions import manual_orders, repository
from app.positions.repository import FlattenSchedule
from app.signals.market import next_daily
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
# A later sell-all, because nothing ran when it was due, may find the market closed: a person decides.
LATEST = timedelta(hours=1)
# Two processes may disagree on the configuration for about a second around the time.
_JUST_NOW = timedelta(seconds=5)


class RiskWorker:
    """Ends entries while buying is paused, and sells all at the configured time of the day."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._may_be_scheduled = True

    async def run(self, name: str) -> None:
        """Look once a second, and whenever the configuration changes."""
        while True:
            self._context.supervisor.beat(name)
            if self._context.is_configured:
                await self.end_entries()
                await self.flatten()
            await self._context.wakeups.wait("configured", POLL_SECONDS)

    async def end_entries(self) -> int:
        """End the entries that have not left, decided or not, while buying is paused; return how many."""
        context = self._context
        if not context.config.system.buys_paused or not await find_unsent_entries(context.pool, tickers=None):
            return 0
        async with context.pool.acquire() as connection, connection.transaction():
            await lock_approvals_exclusive(connection)
            found = await find_unsent_entries(connection, tickers=None)
            ended = await end_entries(connection, found, Reason(ReasonCode.BUYS_PAUSED))
        if ended:
            context.wakeups.notify("approved", "changed")  # exits may have waited behind them
        return ended

    async def flatten(self) -> None:
        """Sell all positions if the configured time has come, once a day.

        Fails open: a process that was away at that time sells up to an hour late.
        """
        context, flatten_at = self._context, self._context.config.system.risk.flatten_at
        if flatten_at is None:
            if self._may_be_scheduled:
                await repository.delete_flatten_schedule(context.pool)
                self._may_be_scheduled = False
            return
        self._may_be_scheduled = True
        schedule = await repository.read_flatten_schedule(context.pool)
        first = _next_due(flatten_at, schedule)
        if schedule.flatten_at != flatten_at or schedule.due_at is None or schedule.due_at > first:
            # Also where the clock was ahead when the time was scheduled.
            await repository.set_flatten_schedule(context.pool, flatten_at=flatten_at, due_at=first)
        elif schedule.due_at <= schedule.now:
            await self._flatten(flatten_at, schedule.due_at, schedule.now)

    async def _flatten(self, flatten_at: str, due_at: datetime, now: datetime) -> None:
        context, is_missed = self._context, now - due_at > LATEST
        actor, action = Actor("schedule", f"config/{SYSTEM_FILE}"), "order.sell-all"
        async with context.pool.acquire() as connection, connection.transaction():
            await lock_approvals_exclusive(connection)
            is_ours = await repository.claim_flatten(
                connection,
                flatten_at=flatten_at,
                due_at=due_at,
                next_due_at=_next(flatten_at, max(now, due_at)),
                is_missed=is_missed,
            )
            if not is_ours:
                return
            if is_missed:
                why = Reason(RefusalCode.FLATTEN_MISSED, time=f"{due_at:%H:%M}")
                await audit_log.record(connection, actor, action, target=flatten_at, refusal=why)
                log.error("positions were not sold at the configured time", due_at=due_at)
                return
            reason = Reason(ReasonCode.FLATTENED, time=flatten_at)
            seconds = context.config.webhook.max_signal_age_seconds.sell
            placed = await manual_orders.sell_all(connection, seconds, reason)
            await audit_log.record(
                connection, actor, action, target=flatten_at, after=manual_orders.summary_of(placed)
            )
        log.info("all positions are sold at the configured time", orders=placed.queued)
        manual_orders.announce(context, placed)


def _next_due(flatten_at: str, schedule: FlattenSchedule) -> datetime:
    """Return when the configured time is next; the present moment counts, unless it was handled."""
    after = schedule.now - _JUST_NOW
    return _next(flatten_at, max(after, schedule.handled_due_at or after))


def _next(flatten_at: str, after: datetime) -> datetime:
    hour, minute, zone = parse_time_of_day(flatten_at)
    return next_daily(after, time(hour, minute), zone)
