"""Claims of several processes, without rate limits: each is one statement that waits for no lock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest_asyncio

from app.orders import repository
from app.orders.outbox import Outbox
from app.orders.outcomes import Success, Successes
from tests.api.trading.processes import close_process, open_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from app.context import AppContext
    from app.settings import Settings

PROCESSES = 3
# By a version that has no orders, so a trigger makes them.
_APPROVED = """
    INSERT INTO signals (id, status, type, ticker, expires_at, body)
    SELECT gen_random_uuid(), 'approved', $1, 'T' || n % $3::int, now() + interval '1 hour', '{}'
    FROM generate_series(0, $2::int - 1) n
"""


@pytest_asyncio.fixture
async def processes(make_settings: Callable[..., Settings]) -> AsyncIterator[list[AppContext]]:
    """Processes that deliver on paper."""
    values = make_settings(dest_webhook_rate_limiting_enabled=False)
    contexts = [await open_process(values, {}) for _ in range(PROCESSES)]
    yield contexts
    for context in contexts:
        await close_process(context)


async def test_an_order_leaves_while_those_before_it_are_locked(processes: list[AppContext]) -> None:
    """As a person's replay locks them: no claim waits for that, or for a wake-up after it."""
    pool, outbox = processes[0].pool, Outbox(processes[0])
    await pool.execute("INSERT INTO positions (ticker) SELECT 'T' || n FROM generate_series(0, 11) n")
    await pool.execute(_APPROVED, "sell", 12, 12)
    *locked, last = [row["id"] for row in await pool.fetch("SELECT id FROM signals ORDER BY seq")]
    async with processes[1].pool.acquire() as other, other.transaction(), asyncio.timeout(5):
        await repository.lock_signals(other, ids=locked)
        assert (await outbox.claim(1)).rows == 1
        assert await pool.fetchval("SELECT array_agg(signal_id) FROM orders WHERE status = 'sending'") == [
            last
        ]
        assert (await outbox.claim(3)).rows == 0
    assert (await outbox.claim(20)).rows == len(locked)


async def test_what_follows_an_order_that_is_locked_is_looked_for_at_once(
    processes: list[AppContext],
) -> None:
    """The claim passes over the first two of four, and sends the others; the fifth needs no wake-up."""
    pool, outbox = processes[0].pool, Outbox(processes[0])
    await pool.execute(_APPROVED, "buy", 5, 5)
    first = [row["id"] for row in await pool.fetch("SELECT id FROM signals ORDER BY seq LIMIT 2")]
    async with processes[1].pool.acquire() as other, other.transaction(), asyncio.timeout(5):
        await repository.lock_signals(other, ids=first)
        assert (await outbox.claim(3)).rows == 2
        await processes[0].wakeups.wait("approved", 60)
        assert (await outbox.claim(1)).rows == 1


async def test_processes_that_claim_at_once_send_each_order_once(processes: list[AppContext]) -> None:
    """No two orders of a ticker are sent at the same time, and none is left."""
    orders, tickers = 120, 20
    await processes[0].pool.execute(_APPROVED, "buy", orders, tickers)
    sent, sending = list[int](), set[str]()

    async def deliver_all(context: AppContext) -> None:
        outbox, successes = Outbox(context), Successes(context.pool)
        while len(sent) < orders:
            for _ in range((await outbox.claim(3)).rows):
                delivery = await outbox.next()
                assert delivery is not None
                assert delivery.terms is not None
                assert delivery.ticker not in sending
                sending.add(delivery.ticker)
                sent.append(delivery.attempt)
                await asyncio.sleep(0)
                sending.remove(delivery.ticker)
                attempt = (delivery.attempt, delivery.id, delivery.ticker, 200, b"")
                await successes.write(Success(*attempt, terms=delivery.terms, held=delivery.held))

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for context in processes:
            group.create_task(deliver_all(context))
    pool = processes[0].pool
    assert len(set(sent)) == orders
    assert await pool.fetchval("SELECT count(*) FROM attempts") == orders
    assert await pool.fetchval("SELECT count(*) FROM orders WHERE status = 'delivered'") == orders
    assert await pool.fetchval("SELECT count(*) FROM positions WHERE status = 'open'") == tickers
