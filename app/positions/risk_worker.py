"""The risk rules that act without a signal: entries end while buying is paused; all is sold at the set time.

Every process does so; locks and the row of the schedule decide which one acts. The two are workers of their
own: neither an error nor a wait of the one holds up the other.
"""

from datetime import datetime, time, timedelta
from functools import partial

import structlog

from app.audit import repository as audit_log
from app.audit.repository import Actor
from app.config.model import SYSTEM_FILE
from app.config.times import parse_time_of_day
from app.context import AppContext
from app.orders.endings import end_unlocked_entries
from app.orders.endings_repository import has_unsent_entries
from app.orders.repository import try_lock_approvals_exclusive
from app.positions import manual_orders, repository
from app.positions.repository import FlattenSchedule
from app.signals.market import next_on_trading_day
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
_RETRY_SECONDS = 0.05
# A later sell-all, because nothing ran when it was due, may find the market closed: a person decides.
LATEST = timedelta(hours=1)
# Two processes may disagree on the configuration for about a second around the time.
_JUST_NOW = timedelta(seconds=5)


def start(context: AppContext) -> None:
    """Start the workers `buys-pause` and `flatten` under the process's supervisor."""
    context.supervisor.start("buys-pause", partial(run_pause, context, "buys-pause"))
    context.supervisor.start("flatten", partial(FlattenWorker(context).run, "flatten"))


async def run_pause(context: AppContext, name: str) -> None:
    """End the entries that have not left, decided or not, while buying is paused.

    Claims pass over entries meanwhile, so nothing depends on when this is done.
    """
    while True:
        context.supervisor.beat(name)
        is_done = True
        if context.is_configured and context.config.system.buys_paused:
            is_done = await _end_entries(context, Reason(ReasonCode.BUYS_PAUSED))
        await context.wakeups.wait("configured", POLL_SECONDS if is_done else _RETRY_SECONDS)


async def _end_entries(context: AppContext, why: Reason, until_seq: int | None = None) -> bool:
    """End the entries, up to the signal `until_seq`, that have not left; return whether none is left.

    Fails open: it waits for no lock, so that no exit waits for it.
    """
    if not await has_unsent_entries(context.pool, until_seq=until_seq):
        return True
    async with context.pool.acquire() as connection, connection.transaction():
        if not await try_lock_approvals_exclusive(connection):
            return False
        ended = await end_unlocked_entries(connection, why, until_seq=until_seq)
        is_done = not await has_unsent_entries(connection, until_seq=until_seq)
    if ended:
        context.wakeups.notify("approved", "changed")  # exits may have waited behind them
    return is_done


class FlattenWorker:
    """Sells all positions at the configured time of each trading day."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._may_be_scheduled = True
        self._seen: tuple[str, datetime] | None = None
        # The entries up to this signal are to be ended: they arrived before the last sell-all.
        self._ends_until: int | None = None

    async def run(self, name: str) -> None:
        """Look once a second, and whenever the configuration changes."""
        while True:
            self._context.supervisor.beat(name)
            if self._context.is_configured:
                await self.flatten()
                await self._end_overtaken()
            is_done = self._ends_until is None
            await self._context.wakeups.wait("configured", POLL_SECONDS if is_done else _RETRY_SECONDS)

    async def flatten(self) -> None:
        """Sell all positions if the configured time has come, once a day.

        Fails open: a process that was away at that time sells up to an hour late.
        """
        context, flatten_at = self._context, self._context.config.system.risk.flatten_at
        if flatten_at is None:
            self._seen = None
            if self._may_be_scheduled:
                await repository.clear_flatten_schedule(context.pool)
                self._may_be_scheduled = False
            return
        self._may_be_scheduled = True
        schedule = await repository.read_flatten_schedule(context.pool)
        if self._seen is None or self._seen[0] != flatten_at or self._seen[1] > schedule.now:
            self._seen = flatten_at, schedule.now
        first = first_due(flatten_at, schedule, seen_at=self._seen[1])
        if schedule.flatten_at != flatten_at or schedule.due_at is None or schedule.due_at > first:
            # Also where the clock was ahead when the time was scheduled.
            await repository.set_flatten_schedule(context.pool, flatten_at=flatten_at, due_at=first)
        elif schedule.due_at <= schedule.now:
            await self._flatten(flatten_at, schedule.due_at, schedule.now)

    async def _flatten(self, flatten_at: str, due_at: datetime, now: datetime) -> None:
        context, is_missed = self._context, now - due_at > LATEST
        actor, action = Actor("schedule", f"config/{SYSTEM_FILE}"), "order.sell-all"
        async with context.pool.acquire() as connection, connection.transaction():
            last_seq = await repository.claim_flatten(
                connection,
                flatten_at=flatten_at,
                due_at=due_at,
                next_due_at=_next(flatten_at, max(now, due_at)),
                is_missed=is_missed,
            )
            if last_seq is None:
                return
            if is_missed:
                why = Reason(RefusalCode.FLATTEN_MISSED, time=f"{due_at:%H:%M}")
                await audit_log.record(connection, actor, action, target=flatten_at, refusal=why)
                log.error("positions were not sold at the configured time", due_at=due_at)
                return
            reason = Reason(ReasonCode.FLATTENED, time=flatten_at)
            seconds = context.config.webhook.max_signal_age_seconds.sell
            placed = await manual_orders.flatten(connection, seconds, reason)
            await audit_log.record(
                connection, actor, action, target=flatten_at, after=manual_orders.summary_of(placed)
            )
        self._ends_until = last_seq
        log.info("all positions are sold at the configured time", orders=placed.queued)
        manual_orders.announce(context, placed)

    async def _end_overtaken(self) -> None:
        """End the entries that the last sell-all could not end: they would open what was just sold."""
        if self._ends_until is None:
            return
        if await _end_entries(self._context, Reason(ReasonCode.OVERTAKEN), self._ends_until):
            self._ends_until = None


def first_due(flatten_at: str, schedule: FlattenSchedule, *, seen_at: datetime) -> datetime:
    """Return when the configured time is due first, for a process that has had this time since `seen_at`.

    A time that has just come counts, unless it was handled, or was not configured yet: a change applies from
    the next time on. What was handled while the clock was ahead does not count.
    """
    after = max(seen_at, schedule.now - _JUST_NOW)
    handled = schedule.handled_due_at
    if handled is not None and handled - schedule.now <= LATEST:
        after = max(after, handled)
    return _next(flatten_at, after)


def _next(flatten_at: str, after: datetime) -> datetime:
    hour, minute, zone = parse_time_of_day(flatten_at)
    return next_on_trading_day(after, time(hour, minute), zone)
