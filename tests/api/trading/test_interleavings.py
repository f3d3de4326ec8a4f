"""Alerts, people, replays, failures and unknowns in any interleaving, over two processes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import pytest_asyncio
from aiohttp import web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received

TICKERS = ["AAPL", "NVDA", "TSLA"]
DEEDS = ["buy", "sell", "order a sell", "close a position", "sell all", "replay"]
DEEDS_BY_TYPE = {
    "sell": "sell",
    "manual_sell": "order a sell",
    "position_close": "close a position",
    "sell_all": "sell all",
}
MAKE_UP_SECONDS = 300  # far more than a busy machine needs
ANSWERS = [200, 200, 200, 400, 500, 503]


class Deed(NamedTuple):
    """An action on a ticker, and the delay of the broker's answer."""

    what: str
    ticker: str
    think: float


DAYS = st.lists(
    st.builds(Deed, st.sampled_from(DEEDS), st.sampled_from(TICKERS), st.sampled_from([0, 0.003, 0.01])),
    min_size=5,
    max_size=25,
)
BUSY_CHANCE = random.Random(3)
BUSY_DAY = [
    Deed(what, BUSY_CHANCE.choice(TICKERS), 0.005)
    for what in BUSY_CHANCE.choices(DEEDS, [45, 25, 6, 6, 6, 12], k=150)
]


class Broker:
    """Executes orders, or fails before; asserts that orders of a ticker arrive one at a time."""

    def __init__(self, answers: Sequence[int], thinks: Sequence[float]) -> None:
        self.answers = answers
        self.thinks = thinks
        self.asked = 0
        self.holds: Counter[str] = Counter()
        self.may_hold: set[str] = set()  # as far as the application can know
        self.busy: set[str] = set()
        self.wrong: list[str] = []
        self.failures = 0

    def _may_have(self, ticker: str) -> bool:
        return bool(self.holds[ticker]) or ticker in self.may_hold

    async def __call__(self, received: Received) -> web.StreamResponse:
        """Answer after some time."""
        self.asked += 1
        ticker, action = received.alert["ticker"], received.alert["action"]
        if ticker in self.busy:
            self.wrong.append(f"two orders of {ticker} at once")
        if action == "exit" and "number" in received.alert and not self._may_have(ticker):
            self.wrong.append(f"a sell of {ticker}, which is not held")
        self.busy.add(ticker)
        await asyncio.sleep(self.thinks[self.asked % len(self.thinks)])
        self.busy.discard(ticker)
        status = self.answers[self.asked % len(self.answers)]
        # never so many failures in a row that the circuit opens: probing takes longer than this test
        if status >= 500 and self.failures == 3:
            status = 200
        self.failures = self.failures + 1 if status >= 500 else 0
        if status == 500 and action == "buy":
            self.may_hold.add(ticker)
        elif status == 200:
            if action == "buy":
                self.holds[ticker] += 1
            else:
                self.holds.pop(ticker, None)
                self.may_hold.discard(ticker)
        return web.Response(status=status)


@pytest_asyncio.fixture
async def apps(desk: Desk) -> list[AppServer]:
    """Two processes of one stack."""
    desk.configure("webhook", retry_seconds=[0.02])
    return [await desk.open(forwarding_workers=4), await desk.open(forwarding_workers=4)]


async def do(desk: Desk, app: AppServer, deed: Deed) -> None:
    """Carry out the action; a person's action may come too late."""
    match deed.what:
        case "buy" | "sell":
            await desk.send(app, deed.ticker, deed.what)
        case "order a sell":
            await desk.order(app, "order/sell-individual", 202, ticker=deed.ticker)
        case "sell all":
            await desk.order(app, "order/sell-all", 202)
        case "close a position":
            held = (await ask(app, "GET", "/admin/positions"))["positions"]
            for position in [each for each in held if each["ticker"] == deed.ticker]:
                await tell(app, "order/close-position", {202, 409}, position_id=position["id"])
        case _:
            count = (await desk.order(app, "dead-letters/replay"))["count"]
            await tell(app, "dead-letters/replay", {200, 409}, confirm=count)


async def tell(app: AppServer, path: str, statuses: set[int], **body: object) -> None:
    """Post to `/admin/<path>` as a person; one of the statuses is expected."""
    headers = {"Authorization": f"Bearer {app.context.settings.admin_token}"}
    async with app.http.post(f"/admin/{path}", json=body, headers=headers) as answer:
        assert answer.status in statuses, await answer.text()


async def make_up(desk: Desk, apps: list[AppServer]) -> None:
    """Repeat the actions that had no effect, with further buys pending.

    On a slow machine positions are closed, and failures replayed, before a person's action.
    """
    async with asyncio.timeout(MAKE_UP_SECONDS):
        while missing := await without_effect(desk):
            for number, what in enumerate([*["buy"] * len(TICKERS), *missing]):
                await do(desk, apps[number % 2], Deed(what, TICKERS[number % len(TICKERS)], 0))


async def without_effect(desk: Desk) -> list[str]:
    """Return the actions that created no signal."""
    types = {row["type"] for row in await desk.database.fetch("SELECT DISTINCT type FROM signals")}
    missing = [what for kind, what in DEEDS_BY_TYPE.items() if kind not in types]
    is_replayed = await desk.database.fetchval("SELECT count(*) > 0 FROM signals WHERE round > 1")
    return missing if is_replayed else [*missing, "replay"]


async def empty(desk: Desk) -> None:
    """Empty the tables; a worker that has locked them in another order finishes first."""
    async with asyncio.timeout(MAKE_UP_SECONDS):
        while True:
            try:
                await desk.database.execute("TRUNCATE signals, positions, intake_keys, destinations CASCADE")
            except asyncpg.DeadlockDetectedError:
                continue
            return


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(day=DAYS, answers=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=12))
@example(day=BUSY_DAY, answers=[200, 400, 200, 200, 500, 200, 503, 200, 200, 400, 200])
async def test_stored_positions_are_what_the_destination_saw_and_tickers_keep_their_order(
    desk: Desk, apps: list[AppServer], day: list[Deed], answers: list[int]
) -> None:
    await empty(desk)
    broker = desk.receiver.answer = Broker(answers, [deed.think for deed in day])
    desk.receiver.received.clear()
    for number, deed in enumerate(day):
        await do(desk, apps[number % 2], deed)
    if day is BUSY_DAY:
        await make_up(desk, apps)
    await desk.settled(apps[0])
    assert broker.wrong == []
    assert await desk.open_positions() == +broker.holds

    rows = await desk.database.fetch("SELECT id::text, seq, ticker, type, round FROM signals")
    first_arrivals = dict.fromkeys(got.webhook_id for got in desk.receiver.received)
    place = {row["id"]: (row["ticker"], row["seq"]) for row in rows}
    arrived = [
        place[webhook_id] for webhook_id in first_arrivals if webhook_id in place
    ]  # replays have another
    for ticker in TICKERS:
        order = [seq for name, seq in arrived if name == ticker]
        assert order == sorted(order)
    if day is BUSY_DAY:
        assert {row["type"] for row in rows} == {"buy", *DEEDS_BY_TYPE}
        assert any(row["round"] > 1 for row in rows)
