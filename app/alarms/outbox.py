"""Deliver notifications: one worker for each target, at least once, until one is too old.

They leave in order, but one that fails four times delays no later one: it may be what the target refuses.

A dead target delays no other. It is an alarm, after three failures; the alarm is a message like any other.
"""

import structlog

from app import metrics
from app.alarms import repository
from app.alarms.repository import Notification
from app.alarms.targets import SEND_SECONDS, Message, Target
from app.context import AppContext

log = structlog.get_logger(__name__)

GIVE_UP_HOURS = 24
RETRY_SECONDS = (5.0, 15.0, 60.0, 300.0)
FAILURES_IN_ORDER = 4  # 80 s: a target that is unavailable for longer may get later messages first
POLL_SECONDS = 2.0
_LEASE_SECONDS = SEND_SECONDS + 40.0


async def run(context: AppContext, target: Target, name: str) -> None:
    """Send what is due for the target."""
    await target.prepare()
    while True:
        context.supervisor.beat(name)
        claimed = await repository.claim(
            context.pool,
            target=target.key,
            lease_seconds=_LEASE_SECONDS,
            failures_in_order=FAILURES_IN_ORDER,
        )
        if claimed is None:
            await context.wakeups.wait("notifications", POLL_SECONDS)
            continue
        await _send(context, target, claimed, name)


async def _send(context: AppContext, target: Target, claimed: Notification, name: str) -> None:
    error = await target.send(Message(claimed.severity, claimed.title, claimed.body))
    context.supervisor.beat(name)
    if not error:
        await repository.record_sent(context.pool, notification=claimed.id)
        metrics.NOTIFICATIONS.labels("sent").inc()
        return
    retry = RETRY_SECONDS[min(claimed.attempts, len(RETRY_SECONDS)) - 1]
    is_given_up = await repository.record_failure(
        context.pool,
        notification=claimed.id,
        retry_in_seconds=retry,
        error=str(error),
        give_up_after_hours=GIVE_UP_HOURS,
    )
    metrics.NOTIFICATIONS.labels("given_up" if is_given_up else "failed").inc()
    log.warning(
        "notification not sent",
        target=target.name,
        attempt=claimed.attempts,
        error=str(error),
        given_up=is_given_up,
    )
