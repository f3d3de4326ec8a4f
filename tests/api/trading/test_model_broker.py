"""Alerts, people and failures in any interleaving over two processes, against a model of the broker bridge.

The broker is never short. While shares are held, a position lets an exit pass. Where nothing is
pending or unconfirmed, book and broker agree. An exit leaves, or is an alarm; a close waits for no entry.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest_asyncio
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.api.operator import ask
from tests.api.trading.receiver import listening
from tests.api.trading.test_delivery_recovery import EXPIRE_LEASES
from tests.api.trading.test_interleavings import MAKE_UP_SECONDS, empty, tell
from tests.broker import Account, Broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    import pytest
    from aiohttp.abc import AbstractStreamWriter

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received, Receiver

EXAMPLES = int(os.environ.get("MODEL_BROKER_EXAMPLES", "20"))
TICKERS = ["AAPL", "BRK.B"]
ALERTS: list[dict[str, Any]] = [
    {"action": "buy", "quantity": "10", "sentiment": "long"},
    {"action": "BUY", "quantity": 5},
    {"side": "long"},
    {"action": "add", "quantity": 5},
    {"action": "sell"},
    {"action": "sell", "quantity": 10},
    {"action": "sell", "quantity": "5"},
    {"action": "exit", "quantity": "5", "sentiment": "long"},
    {"action": "sell", "quantity": "5", "sentiment": "flat"},
    {"action": "sell", "quantity": "20", "sentiment": "short"},
    {"action": "close_long", "quantity": "50%"},
    {"action": "reverse", "quantity": 20},
    {"action": "cancel"},
]


class Fate(Enum):
    """What becomes of a request."""

    ANSWERED = "answered"
    LOST_BEFORE = "lost before it was executed"
    LOST_AFTER = "executed, and its answer lost"
    FAILED_AFTER = "executed, and answered with 500"
    NOT_ACCEPTED = 'answered with 200 and "success": false'
    BUSY = "answered with 503"
    FORBIDDEN = "answered with 403"
    TIMED_OUT = "executed, and answered after the time-out"
    SLOW = "executed, and answered when everything else has settled"


UNKNOWN = frozenset({Fate.LOST_BEFORE, Fate.LOST_AFTER, Fate.FAILED_AFTER, Fate.TIMED_OUT})
FAILURES = UNKNOWN | {Fate.BUSY, Fate.NOT_ACCEPTED}
FATES = st.lists(st.sampled_from([Fate.ANSWERED, Fate.ANSWERED, *Fate]), min_size=1, max_size=12)
MOST_FAILURES_IN_A_ROW = 3  # more would open the circuit, whose probes take longer than this test


# An exit that waits for an entry's second retry waits for longer than a commit takes on a busy machine.
RETRY_SECONDS = [0.02, 1]
TIMEOUT_SECONDS = 1.0
RULES = st.fixed_dictionaries(
    {
        "duplicate_buys": st.sampled_from(["forward", "add", "reject"]),
        "partial_exits": st.sampled_from(["keep_open", "close"]),
        "unmatched_exits": st.sampled_from(["reject", "forward"]),
    }
)


class Step(NamedTuple):
    """One step of a script, for one ticker if it concerns one."""

    what: str
    ticker: str
    alert: int = 0


STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.just("alert"), st.sampled_from(TICKERS), st.integers(0, len(ALERTS) - 1)),
        st.builds(
            Step,
            st.sampled_from(
                ["settle", "resend", "crash", "order", "close", "sell all", "confirm", "replay", "list"]
            ),
            st.sampled_from(TICKERS),
        ),
    ),
    min_size=3,
    max_size=20,
)


class _Lost(web.Response):
    """No answer: the connection is reset."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Reset it."""
        assert request.transport is not None
        request.transport.abort()
        return await super().prepare(request)


NOT_EXECUTED: dict[Fate, Callable[[], web.StreamResponse]] = {
    Fate.LOST_BEFORE: _Lost,
    Fate.NOT_ACCEPTED: partial(web.json_response, {"success": False}),
    Fate.BUSY: partial(web.Response, status=503),
    Fate.FORBIDDEN: partial(web.Response, status=403),
}


@dataclass
class Bridge:
    """The broker behind a connection that fails by the fate of each request."""

    broker: Broker
    fates: Sequence[Fate]
    asked: int = 0
    failures: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    wrong: list[str] = field(default_factory=list)

    async def __call__(self, received: Received) -> web.StreamResponse:
        """Execute the order and answer, by its fate."""
        fate = self.fates[self.asked % len(self.fates)]
        self.asked += 1
        if self.failures == MOST_FAILURES_IN_A_ROW:
            fate = Fate.ANSWERED
        self.failures = self.failures + 1 if fate in FAILURES else 0
        if fate in NOT_EXECUTED:
            return NOT_EXECUTED[fate]()
        answer = self.broker.receive(received.body)
        self._look(received)
        match fate:
            case Fate.LOST_AFTER:
                return _Lost()
            case Fate.FAILED_AFTER:
                return web.Response(status=500)
            case Fate.TIMED_OUT:
                await asyncio.sleep(2 * TIMEOUT_SECONDS)
            case Fate.SLOW:
                await self.may_answer.wait()
        return web.Response(status=answer.status, body=answer.body)

    def _look(self, received: Received) -> None:
        held = self.broker.held(received.alert["ticker"])
        if held < 0:
            self.wrong.append(f"short after {received.body!r}")


class Play:
    """A script on two processes and the bridge of each destination, by its name."""

    def __init__(self, desk: Desk, apps: list[AppServer], bridges: dict[str, Bridge]) -> None:
        self.desk, self.apps, self.bridges = desk, apps, bridges
        self.bodies = dict[str, bytes]()
        self.turn = 0
        self.is_list_fresh = True

    async def step(self, step: Step) -> None:
        """Carry out one step, at one process or the other."""
        self.turn += 1
        app = self.apps[self.turn % len(self.apps)]
        match step.what:
            case "alert":
                body = json.dumps({"ticker": step.ticker, **ALERTS[step.alert]}).encode()
                await self.post(app, step.ticker, body)
            case "resend" if body := self.bodies.get(step.ticker, b""):
                await self.post(app, step.ticker, body)
            case "crash":
                await self.desk.database.execute(EXPIRE_LEASES)
            case "list":
                await self.switch_the_list()
            case "settle":
                await self.settle()
                await self.check()
            case _:
                await self.act(app, step)

    async def act(self, app: AppServer, step: Step) -> None:
        """Let a person do something."""
        match step.what:
            case "order":
                await self.desk.order(app, "order/sell-individual", 202, ticker=step.ticker)
            case "sell all":
                await self.desk.order(app, "order/sell-all", 202)
            case "close" | "confirm":
                await self.settle()
                await self.settle_position(app, step)
            case "replay":
                count = (await self.desk.order(app, "dead-letters/replay"))["count"]
                await tell(app, "dead-letters/replay", {200, 409}, confirm=count)

    async def post(self, app: AppServer, ticker: str, body: bytes) -> None:
        """Post an alert's bytes."""
        self.bodies[ticker] = body
        async with app.http.post("/webhook/in", data=body) as answer:
            assert answer.status == 202, await answer.text()

    async def settle_position(self, app: AppServer, step: Step) -> None:
        """Close a position, or settle an unconfirmed one by what the broker holds."""
        for position in (await ask(app, "GET", "/admin/positions"))["positions"]:
            if position["ticker"] != fold(step.ticker):
                continue
            if step.what == "close":
                await tell(app, "order/close-position", {202, 409}, position_id=position["id"])
            elif not position["confirmed"]:
                broker = self.bridges[position["destination"]].broker
                answer = "confirm" if broker.held(step.ticker) else "dismiss"
                await tell(app, f"positions/{position['id']}/{answer}", {200})

    async def configure(self, rules: dict[str, str], *, retries_buys: bool) -> None:
        """Let both processes decide by these rules from now on."""
        await ask(self.apps[0], "PUT", "/admin/system/config", body=rules)
        retry = {"retry_unknown": {"buy": retries_buys}}
        await ask(self.apps[0], "PUT", "/admin/webhook/config", body=retry)
        for app in self.apps:
            await app.app.state.config_store.look()

    async def switch_the_list(self) -> None:
        """Let the list be stale from now on, so that entries wait for their decision, or fresh again."""
        self.is_list_fresh = not self.is_list_fresh
        await self.desk.database.execute(
            "UPDATE top_n_lists SET max_age_seconds = $1", None if self.is_list_fresh else 0
        )
        for app in self.apps:
            app.context.wakeups.notify("received")

    async def settle(self) -> None:
        """Wait until nothing is unfinished and every attempt has ended; slow answers come now."""
        if not self.is_list_fresh:
            await self.switch_the_list()
        for bridge in self.bridges.values():
            bridge.may_answer.set()

        query = """SELECT NOT EXISTS (SELECT FROM unfinished_signals)
                      AND NOT EXISTS (SELECT FROM attempts WHERE ended_at IS NULL)"""
        async with asyncio.timeout(MAKE_UP_SECONDS):
            while not await self.desk.database.fetchval(query):
                await self.apps[0].context.wakeups.wait("changed", 0.2)
        for bridge in self.bridges.values():
            bridge.may_answer.clear()

    async def positions(self) -> dict[tuple[str, str], Any]:
        """Return the open positions by destination and ticker, each with whether it is confirmed."""
        rows = await self.desk.database.fetch("SELECT * FROM positions WHERE status <> 'closed'")
        return {(row["destination"], row["ticker"]): row for row in rows}

    async def check(self) -> None:
        """Compare the book of each destination and its broker, while nothing is pending."""
        positions = await self.positions()
        for name, bridge in self.bridges.items():
            assert bridge.wrong == []
            for ticker in TICKERS:
                held, position = bridge.broker.held(ticker), positions.get((name, fold(ticker)))
                if position is None:
                    assert held == 0, f"{held} {ticker} held at {name} without a position"
                elif position["confirmed"] and position["quantity"] is not None:
                    assert position["quantity"] == held, (name, ticker)
        await self.check_exits()

    async def check_exits(self) -> None:
        """Assert that no exit waited for an entry, and that an undelivered needed exit is an alarm."""
        for name in self.bridges:
            for query in (_WAITED_FOR_ENTRIES, _OUT_OF_ORDER):
                rows = await self.desk.database.fetch(query, name)
                assert [tuple(row) for row in rows] == [], name
        if await self.desk.database.fetch(_UNDELIVERED_EXITS):
            status = await ask(self.apps[0], "GET", "/admin/status")
            assert any("sells" in alarm["code"] or "exit" in alarm["code"] for alarm in status["alarms"])

    async def sell_all(self) -> None:
        """A person's order gets everything out that the broker holds."""
        for bridge in self.bridges.values():
            bridge.fates = [Fate.ANSWERED]
        await self.desk.order(self.apps[0], "order/sell-all", 202)
        await self.settle()
        for bridge in self.bridges.values():
            held = {ticker: bridge.broker.held(ticker) for ticker in TICKERS}
            assert held == dict.fromkeys(TICKERS, 0)
        assert await self.positions() == {}
        await self.check_trades()

    async def check_trades(self) -> None:
        """Assert that known quantities of a ticker's trades equal what the broker bought."""
        trades = (await ask(self.apps[0], "GET", "/admin/trades", limit=500))["trades"]
        for (name, bridge), ticker in itertools.product(self.bridges.items(), TICKERS):
            place = (name, fold(ticker))
            quantities = [
                each["quantity"] for each in trades if (each["destination"], each["ticker"]) == place
            ]
            fills = [shares for filled, shares in bridge.broker.fills if filled == ticker]
            if None not in quantities:
                assert sum(map(Decimal, quantities)) == sum(shares for shares in fills if shares > 0), place


# A close that was approved, and an entry of its ticker that was claimed half a second later and before it.
# $1 is the destination.
_WAITED_FOR_ENTRIES = """
    SELECT s.ticker, s.seq, entry.seq
    FROM signals s
    JOIN LATERAL (
        SELECT min(started_at) AS at FROM attempts WHERE signal_id = s.id AND sent_to = $1) AS left_ ON true
    JOIN orders o ON o.signal_id = s.id AND o.destination = $1 AND o.round = 1
        AND o.intent NOT IN ('reduce', 'adjust')
    JOIN LATERAL (
        SELECT min(at) AS at FROM signal_events WHERE signal_id = s.id AND status = 'approved'
    ) AS approved ON true
    JOIN signals entry ON entry.ticker = s.ticker AND entry.type = 'buy' AND entry.round = 1
    JOIN attempts a ON a.signal_id = entry.id AND a.sent_to = $1
        AND a.started_at > approved.at + interval '0.5 s'
        AND a.started_at < left_.at
    WHERE s.type <> 'buy' AND s.round = 1
"""
# Two orders of a ticker whose first attempts started in another order than they arrived, without the exits
# that passed an entry.
_OUT_OF_ORDER = """
    WITH left_ AS (
        SELECT ticker, seq, type,
               (SELECT min(started_at) FROM attempts WHERE signal_id = s.id AND sent_to = $1) AS at
        FROM signals s WHERE round = 1 AND reprocessed_at IS NULL
    )
    SELECT one.ticker, one.seq, other.seq
    FROM left_ one JOIN left_ other ON other.ticker = one.ticker AND other.seq > one.seq AND other.at < one.at
    WHERE NOT (one.type = 'buy' AND other.type <> 'buy')
"""
# Exits of an open position that ended undelivered, with no later one that was delivered.
_UNDELIVERED_EXITS = """
    SELECT s.ticker, s.seq
    FROM signals s
    JOIN positions p ON p.ticker = s.ticker AND p.status <> 'closed' AND p.opened_at < s.status_at
    WHERE s.type <> 'buy' AND s.status IN ('failed', 'expired') AND s.intent IS DISTINCT FROM 'adjust'
      AND NOT EXISTS (
          SELECT FROM signals later
          WHERE later.ticker = s.ticker AND later.type <> 'buy' AND later.status = 'forwarded'
            AND later.status_at > s.status_at)
"""


def fold(ticker: str) -> str:
    """Return the ticker as positions store it."""
    return ticker.replace(".", "-")


@pytest_asyncio.fixture
async def apps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[AppServer]:
    """Two processes of one stack that notice a dead sender soon."""
    monkeypatch.setattr("app.orders.recovery.INTERVAL_SECONDS", 0.1)
    desk.configure("webhook", retry_seconds=RETRY_SECONDS, timeout=TIMEOUT_SECONDS)
    desk.watch("list:" + ",".join(TICKERS))
    return [await desk.open(forwarding_workers=4), await desk.open(forwarding_workers=4)]


# A failure is shown unshrunk: to shrink it takes minutes.
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    script=STEPS,
    fates=FATES,
    account=st.builds(Account, st.booleans(), st.booleans()),
    rules=RULES,
    retries_buys=st.booleans(),
)
async def test_book_and_broker_agree_and_every_exit_gets_out(
    desk: Desk,
    apps: list[AppServer],
    script: list[Step],
    fates: list[Fate],
    account: Account,
    rules: dict[str, str],
    retries_buys: bool,  # noqa: FBT001  # drawn by Hypothesis
) -> None:
    bridge = desk.receiver.answer = Bridge(Broker(account), fates)
    play = Play(desk, apps, {"default": bridge})
    await play_all(play, [desk.receiver], script, rules, retries_buys=retries_buys)


async def play_all(
    play: Play,
    receivers: list[Receiver],
    script: list[Step],
    rules: dict[str, str],
    *,
    retries_buys: bool,
) -> None:
    """Play a script in an empty database; look at every destination at its end."""
    await empty(play.desk)
    for receiver in receivers:
        receiver.received.clear()
    await play.configure(rules, retries_buys=retries_buys)
    try:
        for step in script:
            await play.step(step)
        await play.settle()
        await play.check()
        await play.sell_all()
    finally:
        for bridge in play.bridges.values():
            bridge.may_answer.set()
        for receiver in receivers:
            note("\n".join(received.body.decode() for received in receiver.received))


@pytest_asyncio.fixture
async def live() -> AsyncIterator[Receiver]:
    """The destination `live`, which gets the same alerts as `default`."""
    async with listening() as running:
        yield running


@pytest_asyncio.fixture
async def apps_of_two(desk: Desk, live: Receiver, monkeypatch: pytest.MonkeyPatch) -> list[AppServer]:
    """Two processes with two destinations."""
    monkeypatch.setattr("app.orders.recovery.INTERVAL_SECONDS", 0.1)
    other = {
        "name": "live",
        "url": live.url,
        "timeout": TIMEOUT_SECONDS,
        "ticker_gap_seconds": 0,
        "rate_limiting_enabled": False,
    }
    desk.configure("webhook", retry_seconds=RETRY_SECONDS, timeout=TIMEOUT_SECONDS, destinations=[other])
    desk.watch("list:" + ",".join(TICKERS))
    return [await desk.open(forwarding_workers=4), await desk.open(forwarding_workers=4)]


# Fewer: each example plays twice as many orders.
@settings(
    max_examples=max(1, EXAMPLES // 4),
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(script=STEPS, fates=st.tuples(FATES, FATES), rules=RULES, retries_buys=st.booleans())
async def test_each_of_two_books_agrees_with_its_broker(
    desk: Desk,
    live: Receiver,
    apps_of_two: list[AppServer],
    script: list[Step],
    fates: tuple[list[Fate], list[Fate]],
    rules: dict[str, str],
    retries_buys: bool,  # noqa: FBT001  # drawn by Hypothesis
) -> None:
    """The connections fail differently, so the books differ."""
    bridges = {
        name: Bridge(Broker(Account(True, True)), each)  # noqa: FBT003  # what the account allows
        for name, each in zip(("default", "live"), fates, strict=True)
    }
    desk.receiver.answer, live.answer = bridges["default"], bridges["live"]
    play = Play(desk, apps_of_two, bridges)
    await play_all(play, [desk.receiver, live], script, rules, retries_buys=retries_buys)
