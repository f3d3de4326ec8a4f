"""Overdue signals that are not expired yet: nothing waits for them, and one sweep expires all."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from app.orders.recovery import sweep
from tests.api.operator import ask

if TYPE_CHECKING:
    from uuid import UUID

    from tests.api.trading.desk import Desk

_STORE = """
    WITH signal AS (
        INSERT INTO signals (id, status, type, ticker, expires_at, body)
        VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5), '{"ticker": "AAPL", "side": "buy"}')
        RETURNING id
    )
    INSERT INTO signal_events (signal_id, status)
    SELECT id, status FROM signal, (VALUES ('received'), ($2)) AS e (status)
"""


async def store(desk: Desk, status: str, kind: str, ticker: str, *, left: float) -> UUID:
    """Store a signal that expires in so many seconds."""
    signal = uuid4()
    await desk.database.execute(_STORE, signal, status, kind, ticker, left)
    return signal


async def test_an_overdue_buy_does_not_count_as_pending(desk: Desk) -> None:
    app = await desk.open()
    async with desk.database.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        buy = await store(desk, "approved", "buy", "AAPL", left=-1)
        await connection.execute("SELECT FROM signals WHERE id = $1 FOR UPDATE", buy)  # keeps the sweep away
        sell = await desk.send(app, "AAPL", "sell")
        row = await desk.until(app, sell, "rejected", "approved")
        assert (row["status"], row["reason"]) == ("rejected", "no position is open and no buy is pending")
        await transaction.rollback()


async def test_an_exit_leaves_before_the_sweep_has_ended_an_overdue_entry(desk: Desk) -> None:
    app = await desk.open()
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    async with desk.database.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        for status in ("approved", "received"):
            buy = await store(desk, status, "buy", "AAPL", left=-1)
            await connection.execute("SELECT FROM signals WHERE id = $1 FOR UPDATE", buy)
        sell = await store(desk, "approved", "sell", "AAPL", left=300)
        app.context.wakeups.notify("approved")
        assert (await desk.until(app, sell))["status"] == "forwarded"
        await transaction.rollback()
    assert await desk.open_positions() == {}


async def test_a_person_s_order_is_not_skipped_for_an_overdue_one(desk: Desk) -> None:
    app = await desk.open()
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    async with desk.database.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        old = await store(desk, "approved", "sell_all", "AAPL", left=-1)
        await connection.execute("SELECT FROM signals WHERE id = $1 FOR UPDATE", old)
        await desk.order(app, "order/sell-all", 202)
        async with asyncio.timeout(60):
            while await desk.open_positions():
                await app.context.wakeups.wait("changed", 0.2)
        await transaction.rollback()


async def test_one_sweep_ends_all_that_is_overdue(desk: Desk) -> None:
    app = await desk.open()
    await app.context.supervisor.stop(10)
    app.context.supervisor.start("sweeper", partial(asyncio.sleep, 3600))  # a worker to send heartbeats for
    await desk.database.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body)
           SELECT gen_random_uuid(), 'approved', 'buy', 'T' || n, now() - interval '1 second', '{}'
           FROM generate_series(1, 2300) n"""
    )
    assert await sweep(app.context, "sweeper") == 2300
    assert await desk.database.fetchval("SELECT count(*) FROM signals WHERE status <> 'expired'") == 0


async def test_an_approved_buy_that_expires_before_its_first_attempt_is_an_order(desk: Desk) -> None:
    app = await desk.open()
    never_decided = await store(desk, "received", "buy", "NVDA", left=-1)
    buy = await store(desk, "approved", "buy", "AAPL", left=-1)
    for signal in (buy, never_decided):
        assert (await desk.until(app, signal))["status"] == "expired"
    for query in ({}, {"status": "expired"}, {"ticker": "AAPL"}):
        listed = await ask(app, "GET", "/admin/orders", **query)
        assert [order["id"] for order in listed["orders"]] == [str(buy)]
    (stats,) = await ask(app, "GET", "/admin/orders/stats")
    assert (stats["type"], stats["orders"], stats["expired"]) == ("buy", 1, 1)
    hours = await ask(app, "GET", "/admin/signals-history", hours=2)
    assert sum(hour["received"] for hour in hours) == 2
    assert sum(hour["approved"] for hour in hours) == 1
