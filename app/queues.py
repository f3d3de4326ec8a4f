"""How much waits, sampled from the database: for the 202's `queue_size`, overload, health and metrics."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app import metrics
from app.db.away import DATABASE_AWAY
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

    A second old, ten when counting is slow; intake adds what it commits meanwhile, decisions take off what
    they end. `oldest_*` in seconds, 0 when nothing waits. `sells_*`: in the last tenth of their age, and
    expired with their position open.
    """

    received: int = 0
    approved: int = 0
    oldest_received: float = 0.0
    oldest_approved: float = 0.0
    sells_late: int = 0
    sells_expired: int = 0
    _decided: int = 0

    def count_decided(self, signals: int) -> None:
        """Take decided signals off at once: the next sample may be seconds away."""
        self.received = max(0, self.received - signals)
        self._decided += signals

    def take_sample(self, received: int, decided_before: int) -> None:
        """Replace the count by one from the database, without what was decided since `decided_before`."""
        self.received = max(0, received - (self._decided - decided_before))

    @property
    def decided(self) -> int:
        """Signals that this process has decided."""
        return self._decided


async def run(runtime: "Runtime", name: str) -> None:
    """Keep `runtime.queues` and the gauges fresh; whether the database answers is a gauge, too."""
    while True:
        runtime.supervisor.beat(name)
        started = time.monotonic()
        try:
            await _sample(runtime, name)
        except DATABASE_AWAY:
            metrics.DATABASE_UP.set(is_up=False)
            raise
        metrics.DATABASE_UP.set(is_up=True)
        runtime.supervisor.beat(name)
        await asyncio.sleep(pause_seconds(time.monotonic() - started))


async def _sample(runtime: "Runtime", name: str) -> None:
    decided = runtime.queues.decided
    row = await runtime.pool.fetchrow(_SQL["queues"], timeout=_ANSWER_SECONDS)
    runtime.supervisor.beat(name)
    sells = await runtime.pool.fetchrow(_SQL["sells_at_risk"], timeout=_ANSWER_SECONDS)
    if row is None or sells is None:  # pragma: no cover - an aggregate always has its row
        raise RuntimeError("no row")
    queues = runtime.queues
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
