"""A trading day of 40 tickers and 600 alerts: the limits hold, books are right, and exits leave at once.

The day passes faster than real time. Answers, time-outs, ages and the windows of the limits are shorter by
the same factor. A span in which nothing waits is skipped: what the limits count becomes as much older.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from tests.api.trading.desk import FINAL
from tests.broker import Account, Broker

if TYPE_CHECKING:
    from uuid import UUID

    import pytest

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received

PACE = int(os.environ.get("TRADING_DAY_PACE", "6"))  # a divisor of 60; 1: in real time, five minutes
TICKERS = [f"T{number:02}" for number in range(40)]
MINUTE, HOUR = 60.0, 3600.0
SLOWEST_EXIT = 15.0
MOST_STALLED = 2 if PACE > 1 else 0  # exits that a busy machine holds up; without the reserve five are late
ANSWER_SECONDS = (0.3, 3.0)
ERRORS = 0.02
QUIET = 10.0  # seconds until the next alert from which a span is skipped
# Real seconds of delay of the event loop or the database from which the machine counts as stalled.
TICK, STALL = 0.05, 0.25


class Alert(NamedTuple):
    """An alert at so many seconds of the day."""

    at: float
    ticker: str
    action: str


class Clock:
    """Seconds of the day: real ones times the pace, and those that were skipped."""

    def __init__(self) -> None:
        self._start, self._skipped = time.monotonic(), 0.0

    def now(self) -> float:
        """Return the time of the day."""
        return (time.monotonic() - self._start) * PACE + self._skipped

    def skip(self, seconds: float) -> None:
        """Let time pass at once."""
        self._skipped += seconds


@dataclass
class Bridge:
    """The model broker behind a slow bridge, of whose answers 2 % are errors."""

    clock: Clock
    chance: random.Random
    broker: Broker = field(default_factory=lambda: Broker(Account(allows_adding=True)))
    arrivals: list[tuple[float, str]] = field(default_factory=list)

    async def __call__(self, received: Received) -> web.StreamResponse:
        """Answer after some time; an error of unknown outcome comes before or after the execution."""
        self.arrivals.append((self.clock.now(), received.webhook_id))
        await asyncio.sleep(self.chance.uniform(*ANSWER_SECONDS) / PACE)
        if self.chance.random() < ERRORS:
            status, is_executed = self.chance.choice([(503, False), (500, False), (500, True), (504, True)])
            if is_executed:
                self.broker.receive(received.body)
            return web.Response(status=status)
        answer = self.broker.receive(received.body)
        return web.Response(status=answer.status, body=answer.body)

    def most_within(self, seconds: float) -> int:
        """Return the most requests that any window of so many seconds has seen."""
        times = [at for at, _ in self.arrivals]
        return max(sum(start <= at < start + seconds for at in times) for start in times)


def make_day(chance: random.Random) -> list[Alert]:
    """Return the day's alerts: the evening's positions, the open, a cluster every 20 minutes, the close."""
    held = TICKERS[:20]
    day = [Alert(20.0 * number, ticker, "buy") for number, ticker in enumerate(held)]
    start = 2 * HOUR
    day += [Alert(start + chance.uniform(0, 50), TICKERS[12 + n % 28], "buy") for n in range(80)]
    day += [Alert(start + chance.uniform(5, 30), ticker, "sell") for ticker in held[:7]]
    # Without a reserve the entries have used the minute's limit by now. The reserve is 5.
    day += [Alert(start + chance.uniform(40, 46), ticker, "sell") for ticker in held[7:12]]
    is_held = dict.fromkeys(TICKERS, True) | dict.fromkeys(held[:12], False)
    for _ in range(18):
        start += 20 * MINUTE
        for ticker in chance.sample(TICKERS, 26):
            action = "sell" if is_held[ticker] else "buy"
            is_held[ticker] = not is_held[ticker]
            day.append(Alert(start + chance.uniform(0, 3), ticker, action))
    start += 10 * MINUTE
    closing = [ticker for ticker in TICKERS if is_held[ticker]]
    day += [Alert(start + chance.uniform(0, 2), chance.choice(closing), "sell") for _ in range(20)]
    return sorted(day)


@dataclass
class Day:
    """A trading day of an application."""

    desk: Desk
    app: AppServer
    clock: Clock
    sent: dict[UUID, tuple[float, Alert]] = field(default_factory=dict)
    stalls: list[tuple[float, float]] = field(default_factory=list)

    async def pass_until(self, at: float) -> None:
        """Let time pass; skip it while nothing waits."""
        while (left := at - self.clock.now()) > 0:
            if left > QUIET and await self.is_quiet():
                await self.desk.database.execute(
                    """UPDATE attempts SET started_at = started_at - make_interval(secs => $1),
                                           ended_at = ended_at - make_interval(secs => $1)""",
                    left / PACE,
                )
                self.clock.skip(left)
            else:
                await asyncio.sleep(min(left / PACE, 0.1))

    async def is_quiet(self) -> bool:
        """Return whether no signal is unfinished."""
        query = "SELECT NOT EXISTS (SELECT FROM signals WHERE NOT status = ANY ($1))"
        return bool(await self.desk.database.fetchval(query, FINAL))

    async def watch_the_machine(self) -> None:
        """Record the spans in which neither the application nor its database could run."""
        while True:
            start, real = self.clock.now(), time.monotonic()
            await asyncio.sleep(TICK)
            await self.desk.database.fetchval("SELECT 1")
            if (late := time.monotonic() - real - TICK) > STALL:
                self.stalls.append((start, start + late * PACE))

    def waited(self, start: float, end: float) -> float:
        """Return the seconds of a wait, without those in which the machine had stalled."""
        return end - start - sum(max(0.0, min(end, to) - max(start, since)) for since, to in self.stalls)

    async def post(self, number: int, alert: Alert) -> None:
        """Send an alert; its number keeps it from being a duplicate."""
        at = self.clock.now()
        body = {"ticker": alert.ticker, "action": alert.action, "price": "10.50", "number": number}
        self.sent[await self.desk.post(self.app, body)] = at, alert


async def test_a_day_within_the_limits_with_right_books_and_exits_that_leave_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.orders.outbox._MINUTE", round(MINUTE) // PACE)
    monkeypatch.setattr("app.orders.outbox._HOUR", round(HOUR) // PACE)
    monkeypatch.setattr("app.orders.outbox.POLL_SECONDS", 1 / PACE)
    desk.configure(
        "webhook",
        timeout=5 / PACE,
        retry_seconds=[seconds / PACE for seconds in (1, 2, 5, 10, 30, 60)],
        max_signal_age_seconds={"buy": 300 // PACE, "sell": 3600 // PACE},
    )
    desk.watch("list:" + ",".join(TICKERS), top_n=len(TICKERS))
    app = await desk.open(dest_webhook_rate_limiting_enabled=True)
    chance = random.Random(18)
    alerts = make_day(chance)
    assert len(alerts) == 600
    day = Day(desk, app, Clock())
    bridge = desk.receiver.answer = Bridge(day.clock, chance)
    watching = asyncio.create_task(day.watch_the_machine())
    async with asyncio.TaskGroup() as posts:
        for number, alert in enumerate(alerts):
            await day.pass_until(alert.at)
            posts.create_task(day.post(number, alert))
    await desk.settled(app)
    watching.cancel()

    assert bridge.most_within(MINUTE) <= 60
    assert bridge.most_within(HOUR) <= 500
    first_arrival = {webhook_id: at for at, webhook_id in reversed(bridge.arrivals)}
    waits = [
        day.waited(at, first_arrival[str(signal)])
        for signal, (at, alert) in day.sent.items()
        if alert.action == "sell" and (await desk.signal(signal))["status"] != "rejected"
    ]
    assert len(waits) > 200
    assert sorted(waits)[-1 - MOST_STALLED] <= SLOWEST_EXIT
    rows = await desk.database.fetch("SELECT ticker, confirmed FROM positions WHERE status = 'open'")
    positions = {row["ticker"]: row["confirmed"] for row in rows}
    for ticker in TICKERS:
        if positions.get(ticker, True):
            assert (bridge.broker.held(ticker) > 0) == (ticker in positions), ticker
