"""Stored positions are what the destination saw."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import asyncpg
import pytest
from aiohttp import web

if TYPE_CHECKING:
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received


async def test_buys_count_up_and_a_sell_closes(desk: Desk) -> None:
    app = await desk.open()
    buys = [await desk.send(app, "AAPL", "buy") for _ in range(3)]
    await desk.settled(app)
    assert await desk.open_positions() == {"AAPL": 3}
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell)
    closed = await desk.database.fetchrow("SELECT * FROM positions")
    assert closed is not None
    assert (closed["status"], closed["opened_by"], closed["closed_by"]) == ("closed", buys[0], sell)
    await desk.until(app, await desk.send(app, "AAPL", "buy"))
    assert await desk.open_positions() == {"AAPL": 1}
    assert await desk.database.fetchval("SELECT count(*) FROM positions") == 2


async def test_a_partial_sell_leaves_the_position_open(desk: Desk) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"))
    await desk.until(app, await desk.send(app, "AAPL", "sell", quantity=1))
    assert await desk.open_positions() == {"AAPL": 1}
    await desk.until(app, await desk.send(app, "AAPL", "sell"))
    assert await desk.open_positions() == {}
    assert len(desk.receiver.received) == 3


async def test_a_position_stays_open_until_the_alert_says_flat(desk: Desk) -> None:
    app = await desk.open()
    template = {"price": "1.10", "time": "2026-11-27T15:00:00Z"}
    await desk.until(app, await desk.send(app, "AAPL", "", action="buy", sentiment="long", quantity=10))
    for action, sentiment, held in (("sell", "long", {"AAPL": 1}), ("sell", "flat", {})):
        alert = {**template, "action": action, "sentiment": sentiment, "quantity": "5"}
        sell = await desk.until(app, await desk.send(app, "AAPL", "", **alert))
        assert sell["status"] == "forwarded"
        assert await desk.open_positions() == held
    _, half, rest = (got.alert for got in desk.receiver.received)
    assert (half["action"], half["quantity"]) == (rest["action"], half["quantity"]) == ("exit", "5")
    assert "quantity" not in rest
    assert not {"sentiment"} & (half.keys() | rest.keys())
    assert rest["price"] == "1.10"


async def test_all_spellings_of_a_ticker_are_one_position(desk: Desk) -> None:
    desk.watch("list:AAPL,BRK-B")
    app = await desk.open()
    buy = await desk.until(app, await desk.send(app, "NYSE:brk.b", "buy"))
    assert buy["status"] == "forwarded"
    assert await desk.open_positions() == {"BRK-B": 1}
    assert (await desk.until(app, await desk.send(app, "BRK/B", "sell")))["status"] == "forwarded"
    assert await desk.open_positions() == {}
    await desk.until(app, await desk.send(app, "BRK.B", "buy"))
    await desk.order(app, "order/sell-all", 202)
    await desk.settled(app)
    await desk.until(app, await desk.send(app, "BRK.B", "buy"))
    await desk.order(app, "order/sell-individual", 202, ticker="BRK-B")
    await desk.settled(app)
    # a person's exit is spelled as the newest alert is
    assert [got.alert["ticker"] for got in desk.receiver.received] == [
        *("BRK.B", "BRK/B"),
        *("BRK.B", "BRK.B"),
        *("BRK.B", "BRK.B"),
    ]
    assert await desk.open_positions() == {}


@pytest.mark.parametrize("ticker", ["MNQ1!", "SPY 250624C596", "BTC/USD"])
async def test_tickers_of_other_instruments_are_accepted(desk: Desk, ticker: str) -> None:
    app = await desk.open()
    buy = await desk.until(app, await desk.send(app, ticker, "buy"))
    assert (buy["status"], buy["reason"]) == ("rejected", "not in the Top-3")


async def test_a_second_open_position_cannot_be_stored(desk: Desk) -> None:
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")


async def test_opening_and_closing_are_read_from_unfinished_deliveries(desk: Desk) -> None:
    desk.configure("system", delivery_paused=True)
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    app = await desk.open()
    buy, sell = await desk.send(app, "AAPL", "buy"), await desk.send(app, "NVDA", "sell")
    await desk.until(app, buy, "approved")
    await desk.until(app, sell, "approved")
    rows = await desk.database.fetch("SELECT * FROM position_states ORDER BY ticker")
    assert [tuple(row) for row in rows] == [("AAPL", False, True, False), ("NVDA", True, False, True)]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_any_mix_of_orders_and_answers_leaves_what_the_destination_saw(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    tickers = ["AAPL", "NVDA", "TSLA"]
    bought: Counter[str] = Counter()
    may_hold: set[str] = set()  # as far as the application can know
    sells_without_a_position: list[str] = []
    failures: list[int] = []

    async def broker(received: Received) -> web.StreamResponse:
        ticker, action = received.alert["ticker"], received.alert["action"]
        if action == "exit" and not bought[ticker] and ticker not in may_hold:
            sells_without_a_position.append(received.webhook_id)
        await asyncio.sleep(chance.random() * 0.01)  # the delay of the broker's answer
        # never so many failures in a row that the circuit opens: probing takes longer than this test
        status = chance.choice([200, 200, 200, 400, 500, 503] if len(failures) < 3 else [200, 400])
        failures.append(status) if status >= 500 else failures.clear()
        if status == 500 and action == "buy":
            may_hold.add(ticker)
        elif status == 200:
            if action == "buy":
                bought[ticker] += 1
            else:
                bought.pop(ticker, None)
                may_hold.discard(ticker)
        return web.Response(status=status)

    desk.receiver.answer = broker
    desk.configure("webhook", retry_seconds=[0.02])
    apps = [await desk.open(forwarding_workers=4), await desk.open(forwarding_workers=4)]
    for number in range(120):
        app, ticker = apps[number % 2], chance.choice(tickers)
        await desk.send(app, ticker, chance.choice(["buy", "sell"]), n=number)
    await desk.settled(apps[0])
    assert sells_without_a_position == []
    assert await desk.open_positions() == +bought
    assert await desk.database.fetchval("SELECT count(*) FROM attempts WHERE ended_at IS NULL") == 0
