"""Sample the depth of both queues: for the 202's `queue_size`, overload, health and metrics."""

import asyncio
import time
from collections import Counter

from app import metrics
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.ops import repository
from app.orders.destination import destination_of

_INTERVAL_SECONDS = 1.0
# Counting takes at most 5 % of the time, unless the figures would become older than the longest pause.
_PAUSE_FACTOR = 20
_LONGEST_PAUSE_SECONDS = 10.0
_STATEMENT_SECONDS = 10.0
_STATES = {  # label of the metric, by code of the alarm
    "sells_late": "late",
    "sells_expired": "expired",
    "sells_failed": "failed",
    "alerts_unread": "unread",
    "exits_without_destination": "without_destination",
    "exits_waiting": "waiting",
    "exits_swallowed": "swallowed",
    "entries_after_exit": "entered",
}


async def run(context: AppContext, name: str) -> None:
    """Update `context.queues` and the gauges, among them whether the database is available."""
    while True:
        context.supervisor.beat(name)
        started = time.monotonic()
        try:
            await _sample(context, name)
        except TRANSIENT_DB_ERRORS:
            metrics.DATABASE_UP.set(is_up=False)
            raise
        metrics.DATABASE_UP.set(is_up=True)
        context.supervisor.beat(name)
        await asyncio.sleep(pause_seconds(time.monotonic() - started))


async def _sample(context: AppContext, name: str) -> None:
    decided = context.queues.decided
    depths = await repository.fetch_queue_depths(context.pool, timeout_seconds=_STATEMENT_SECONDS)
    context.supervisor.beat(name)
    at_risk = await repository.fetch_at_risk(
        context.pool,
        destinations=[destination_of(each.url, each.name).key for each in context.config.destinations],
        timeout_seconds=_STATEMENT_SECONDS,
    )
    queues = context.queues
    queues.approved = depths.approved
    queues.oldest_received, queues.oldest_approved = depths.oldest_received, depths.oldest_approved
    queues.apply_sample(depths.received, decided)
    queues.at_risk = Counter()
    for each in at_risk:
        queues.at_risk[each.code] += each.cases
    for code, state in _STATES.items():
        metrics.SELLS_AT_RISK.set(queues.at_risk[code], state)
    metrics.UNCONFIRMED_POSITIONS.set(queues.at_risk["positions_unconfirmed"])
    metrics.QUEUE_DEPTH.set(queues.received, "received")
    metrics.QUEUE_DEPTH.set(queues.approved, "approved")
    metrics.OLDEST_WAITING_SECONDS.set(queues.oldest_received, "received")
    metrics.OLDEST_WAITING_SECONDS.set(queues.oldest_approved, "approved")


def pause_seconds(cost: float) -> float:
    """Return the pause in seconds after a count of `cost` seconds; the supervisor allows longer silence."""
    return min(max(_INTERVAL_SECONDS, _PAUSE_FACTOR * cost), _LONGEST_PAUSE_SECONDS)
