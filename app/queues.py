"""How much waits, sampled from the database: for the 202's `queue_size`, overload, health and metrics."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app import metrics
from app.db.queries import load

if TYPE_CHECKING:
    from app.runtime import Runtime

_SQL = load("ops")
_EVERY_SECONDS = 1.0
_SHARE = (
    20  # counting may take one part in 20 of the time, while that leaves a figure of this age at the most:
)
_LONGEST_PAUSE_SECONDS = 10.0
_ANSWER_SECONDS = 10.0


@dataclass(slots=True)
class Queues:
    """Signals that wait for a decision (`received`) and for delivery (`approved`, with those on the way).

    A second old, ten when counting is slow; intake adds what it commits meanwhile. `oldest_*` in seconds, 0
    when nothing waits. `sells_*`: in the last tenth of their age, and expired with their position open
    (SPEC §10).
    """

    received: int = 0
    approved: int = 0
    oldest_received: float = 0.0
    oldest_approved: float = 0.0
    sells_late: int = 0
    sells_expired: int = 0


async def run(runtime: "Runtime", name: str) -> None:
    """Keep `runtime.queues` and the gauges fresh, for ever."""
    while True:
        runtime.supervisor.beat(name)
        started = time.monotonic()
        row = await runtime.pool.fetchrow(_SQL["queues"], timeout=_ANSWER_SECONDS)
        runtime.supervisor.beat(name)
        sells = await runtime.pool.fetchrow(_SQL["sells_at_risk"], timeout=_ANSWER_SECONDS)
        if row is None or sells is None:  # pragma: no cover - an aggregate always has its row
            raise RuntimeError("no row")
        queues = runtime.queues
        queues.received, queues.approved, queues.oldest_received, queues.oldest_approved = row
        queues.sells_late, queues.sells_expired = sells
        metrics.SELLS_AT_RISK.labels("late").set(queues.sells_late)
        metrics.SELLS_AT_RISK.labels("expired").set(queues.sells_expired)
        metrics.QUEUE_DEPTH.labels("received").set(queues.received)
        metrics.QUEUE_DEPTH.labels("approved").set(queues.approved)
        metrics.OLDEST_WAITING_SECONDS.labels("received").set(queues.oldest_received)
        metrics.OLDEST_WAITING_SECONDS.labels("approved").set(queues.oldest_approved)
        runtime.supervisor.beat(name)
        await asyncio.sleep(pause_seconds(time.monotonic() - started))


def pause_seconds(cost: float) -> float:
    """How long to rest after a count of `cost` seconds; never long enough to be taken for dead."""
    return min(max(_EVERY_SECONDS, _SHARE * cost), _LONGEST_PAUSE_SECONDS)
