"""Sample how much waits from the database: for the 202's `queue_size`, overload, health and metrics."""

import asyncio
import time

from app import metrics
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.queries import load

_SQL = load("app.ops")
_EVERY_SECONDS = 1.0
# counting may take one part in 20 of the time, while that leaves a figure of this age at the most:
_SHARE = 20
_LONGEST_PAUSE_SECONDS = 10.0
_ANSWER_SECONDS = 10.0


async def run(context: AppContext, name: str) -> None:
    """Keep `context.queues` and the gauges fresh; whether the database answers is a gauge, too."""
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
    row = await context.pool.fetchrow(_SQL["queues"], timeout=_ANSWER_SECONDS)
    context.supervisor.beat(name)
    sells = await context.pool.fetchrow(_SQL["sells_at_risk"], timeout=_ANSWER_SECONDS)
    if row is None or sells is None:  # pragma: no cover - an aggregate always has its row
        raise RuntimeError("no row")
    queues = context.queues
    received, queues.approved, queues.oldest_received, queues.oldest_approved = row
    queues.take_sample(received, decided)
    queues.sells_late, queues.sells_expired = sells
    metrics.SELLS_AT_RISK.set(queues.sells_late, "late")
    metrics.SELLS_AT_RISK.set(queues.sells_expired, "expired")
    metrics.QUEUE_DEPTH.set(queues.received, "received")
    metrics.QUEUE_DEPTH.set(queues.approved, "approved")
    metrics.OLDEST_WAITING_SECONDS.set(queues.oldest_received, "received")
    metrics.OLDEST_WAITING_SECONDS.set(queues.oldest_approved, "approved")


def pause_seconds(cost: float) -> float:
    """How long to rest after a count of `cost` seconds; never long enough to be taken for dead."""
    return min(max(_EVERY_SECONDS, _SHARE * cost), _LONGEST_PAUSE_SECONDS)
