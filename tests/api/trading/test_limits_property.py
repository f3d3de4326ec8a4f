"""For any claims, ends and restarts of two processes no sliding window exceeds its limit.

No buy takes the reserve of exits.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.orders.outbox import Outbox
from app.orders.outcomes import Success, Successes
from tests.api.trading.processes import close_process, open_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.context import AppContext
    from app.orders.repository import Delivery
    from app.settings import Settings

PER_MINUTE, PER_HOUR = 3, 5
WINDOWS = ((PER_MINUTE, 60), (PER_HOUR, 3600))
FOR_ENTRIES = ((2, 60), (3, 3600))
RESERVE = {"per_min": 1, "per_hour": 50}  # of the hour's limit at most half counts
# Buys, and how many attempts counted in a window when each started, itself included.
TAKEN_BY_BUYS = """
    SELECT count(*)
    FROM attempts bought
    JOIN signals s ON s.id = bought.signal_id AND s.type = 'buy'
    JOIN attempts counted ON counted.id <= bought.id
         AND coalesce(counted.ended_at > bought.started_at - make_interval(secs => $1), true)
    GROUP BY bought.id
"""
PROCESSES = st.integers(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), PROCESSES, st.integers(1, 4)),
        st.tuples(st.just("claim at once"), PROCESSES, st.integers(1, 4)),
        st.tuples(st.just("end"), PROCESSES, st.integers(1, 4)),
        st.tuples(st.just("restart"), PROCESSES, st.just(0)),
        st.tuples(st.just("pass"), PROCESSES, st.sampled_from([1, 29, 30, 59, 60, 61, 1800, 3599, 3600])),
    ),
    min_size=4,
    max_size=30,
)


class Play:
    """Two processes on one database; what passes is taken off the ages of the attempts."""

    def __init__(self, contexts: list[AppContext]) -> None:
        self.contexts = contexts
        self.outboxes = [Outbox(context) for context in contexts]
        self.open: list[Delivery] = []
        self.arrivals: list[float] = []
        self._passed = 0

    def now(self) -> float:
        """Return the seconds, skipped ones included."""
        return time.time() + self._passed

    async def step(self, what: str, process: int, count: int) -> None:
        """Carry out one step. A request arrives as soon as it is claimed, or just before its end."""
        match what:
            case "claim":
                await self._receive(process, await self.outboxes[process].claim(count))
            case "claim at once":
                both = await asyncio.gather(*(outbox.claim(count) for outbox in self.outboxes))
                for number, found in enumerate(both):
                    await self._receive(number, found)
            case "end":
                for delivery in [self.open.pop(0) for _ in self.open[:count]]:
                    if delivery.attempt % 2:
                        self.arrivals.append(self.now())
                    assert delivery.terms is not None
                    success = Success(
                        *(delivery.attempt, delivery.id, delivery.ticker, 200, b""),
                        terms=delivery.terms,
                        held=delivery.held,
                    )
                    await Successes(self.contexts[process].pool).write(success)
            case "restart":
                self.outboxes[process] = Outbox(self.contexts[process])
            case _:
                self._passed += count
                await self.contexts[0].pool.execute(
                    """UPDATE attempts SET started_at = started_at - make_interval(secs => $1),
                                           ended_at = ended_at - make_interval(secs => $1)""",
                    count,
                )

    async def _receive(self, process: int, found: Any) -> None:
        for _ in range(found.rows):
            delivery = await self.outboxes[process].next()
            assert delivery is not None
            self.open.append(delivery)
            if delivery.attempt % 2 == 0:
                self.arrivals.append(self.now())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_sliding_minute_or_hour_holds_more_than_its_limit(
    make_settings: Callable[..., Settings], steps: list[tuple[str, int, int]]
) -> None:
    asyncio.run(_play(make_settings(dest_webhook_url="http://broker.invalid/"), steps))


async def _play(values: Settings, steps: list[tuple[str, int, int]]) -> None:
    limits = {
        "max_req_per_min": PER_MINUTE,
        "max_req_per_hour": PER_HOUR,
        "exit_reserve": RESERVE,
        "rate_limiting_enabled": True,
    }
    play = Play([await open_process(values, limits) for _ in range(2)])
    pool = play.contexts[0].pool
    await pool.execute("TRUNCATE signals, positions CASCADE")
    await pool.execute("INSERT INTO positions (ticker) SELECT 'T' || 40 * n FROM generate_series(1, 5) n")
    await pool.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body)
           SELECT gen_random_uuid(), 'approved', CASE WHEN n % 40 = 0 THEN 'sell' ELSE 'buy' END, 'T' || n,
                  now() + interval '1 hour', '{}'
           FROM generate_series(1, 200) n"""
    )
    try:
        for step in steps:
            await play.step(*step)
        made = await pool.fetchval("SELECT count(*) FROM attempts")
        taken = {
            window: [row["count"] for row in await pool.fetch(TAKEN_BY_BUYS, window[1])]
            for window in FOR_ENTRIES
        }
    finally:
        for context in play.contexts:
            await close_process(context)
    assert made == len(play.arrivals) + sum(delivery.attempt % 2 for delivery in play.open)
    for (limit, _), counts in taken.items():
        assert max(counts, default=0) <= limit
    arrivals = sorted(play.arrivals)
    for limit, seconds in WINDOWS:
        for earlier, later in zip(arrivals, arrivals[limit:], strict=False):
            assert later - earlier >= seconds
