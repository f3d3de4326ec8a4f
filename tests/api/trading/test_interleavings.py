"""Alerts, orders of people, replays, failures and unknowns in any interleaving, over two processes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received

TICKERS = ["AAPL", "NVDA", "TSLA"]


class Broker:
    """Buys and sells as it is told, or fails before it does; watches that orders of a ticker come singly."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.holds: Counter[str] = Counter()
        self.busy: set[str] = set()
        self.wrong: list[str] = []
        self.failures = 0

    async def __call__(self, received: Received) -> web.StreamResponse:
        """Answer after some time."""
        ticker, side = received.alert["ticker"], received.alert["side"]
        if ticker in self.busy:
            self.wrong.append(f"two orders of {ticker} at once")
        if side == "sell" and "number" in received.alert and not self.holds[ticker]:
            self.wrong.append(f"a sell of {ticker}, which is not held")
        self.busy.add(ticker)
        await asyncio.sleep(self.chance.random() * 0.01)  # a broker's time to think
        self.busy.discard(ticker)
        # never so many failures in a row that it would be left alone: that takes longer than this test
        status = self.chance.choice([200, 200, 200, 400, 500, 503] if self.failures < 3 else [200, 400])
        self.failures = self.failures + 1 if status >= 500 else 0
        if status == 200:
            if side == "buy":
                self.holds[ticker] += 1
            else:
                self.holds.pop(ticker, None)
        return web.Response(status=status)


async def replay(desk: Desk, app: AppServer) -> None:
    """Send again what is dead, if nobody changed the count in between."""
    headers = {"Authorization": f"Bearer {app.runtime.settings.admin_token}"}
    count = (await desk.order(app, "dead-letters/replay"))["count"]
    async with app.http.post(
        "/admin/dead-letters/replay", json={"confirm": count}, headers=headers
    ) as answer:
        assert answer.status in {200, 409}


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_stored_positions_are_what_the_destination_saw(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    broker = Broker(random.Random(-seed))
    desk.receiver.answer = broker
    desk.configure("webhook", retry_seconds=[0.02])
    apps = [await desk.open(forwarding_workers=4), await desk.open(forwarding_workers=4)]
    for number in range(120):
        app, ticker = apps[number % 2], chance.choice(TICKERS)
        match chance.choices(["alert", "sell", "sell all", "replay"], [70, 10, 8, 12])[0]:
            case "alert":
                await desk.send(app, ticker, chance.choice(["buy", "sell"]), n=number)
            case "sell":
                await desk.order(app, "order/sell-individual", 202, ticker=ticker)
            case "sell all":
                await desk.order(app, "order/sell-all", 202)
            case _:
                await replay(desk, app)
    await desk.settled(apps[0])
    assert broker.wrong == []
    assert await desk.open_positions() == +broker.holds
    counts = await desk.database.fetchrow(
        """SELECT count(*) FILTER (WHERE type IN ('manual_sell', 'sell_all')) AS ordered,
                  count(*) FILTER (WHERE round > 1) AS replayed FROM signals"""
    )
    assert counts is not None
    assert min(counts) > 0, "the mix had no order of a person or no replay in it"
