"""Delivery: how soon a signal leaves after its 202, and how fast a queue is delivered."""

from __future__ import annotations

import asyncio
import json
import uuid
from statistics import quantiles
from typing import TYPE_CHECKING

import aiohttp
import asyncpg
import uvloop

from benchmarks.destination import Destination
from benchmarks.measurement import Measurement
from benchmarks.row import Result, Row, at_most, ratio_at_least
from benchmarks.steady import post_steadily

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.application import Application
    from benchmarks.bench import Bench
    from benchmarks.database import Database

RATE, SENDERS, TICKERS = 200, 32, 1_000
_CONVOY_P95_MS = 124.0  # published by Convoy for 50 events a second
_HOW = f"{RATE} signals/s over 500 tickers, all approved, limits off; from the 202 to the request's arrival at a destination on loopback"

P95 = Row(
    "delivery.p95",
    "202 → request at the destination, p95",
    _HOW,
    "ms",
    "Convoy's published p95 at 50/s",
    at_most(25, "ms"),
)
P99 = Row("delivery.p99", "202 → request at the destination, p99", _HOW, "ms", budget=at_most(60, "ms"))
DRAIN = Row(
    "delivery.drain",
    "draining a queue of approved signals",
    f"20,000 signals over {TICKERS:,} tickers, limits off, {SENDERS} senders, destination on loopback, 100,000 older signals stored; first to last arrival",
    "/s",
    f"aiohttp, {SENDERS} at a time, posting the same bodies with one commit each",
    ratio_at_least(0.5),
)

TWO_DESTINATIONS = Row(
    "delivery.two_destinations",
    "draining the same queue to two destinations, in orders",
    f"10,000 signals over {TICKERS:,} tickers, each with an order at both, limits off, {SENDERS} senders for each, destinations on loopback, 100,000 older signals stored; first to last arrival",
    "/s",
    "the same with one destination",
    ratio_at_least(0.85),
)

_KEPT = "CREATE TABLE kept (id uuid PRIMARY KEY, status smallint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())"


def latency(bench: Bench) -> Mapping[str, Result]:
    """Post steadily, and compare the moments at both ends."""
    tickers = tuple(f"T{number}" for number in range(500))
    p95, p99 = [], []
    with (
        bench.database() as database,
        Destination() as destination,
        bench.application(database, tickers, to(destination)) as application,
    ):
        for _ in range(bench.rounds(3)):
            milliseconds = waits(application, destination, bench.seconds(20), RATE, tickers)
            p95.append(percentile(milliseconds, 95))
            p99.append(percentile(milliseconds, 99))
    return {P95.key: Result(tuple(p95), (_CONVOY_P95_MS,) * len(p95)), P99.key: Result(tuple(p99))}


def drain(bench: Bench) -> Mapping[str, Result]:
    """Deliver the same queue, in turn with a minimal client."""
    signals = bench.rows(20_000)
    with Destination() as destination:
        rates, references = bench.alternate(
            3,
            lambda: drained(bench, destination, signals),
            lambda: _posted(bench, destination, signals),
        )
    return {DRAIN.key: Result(rates, references)}


def two_destinations(bench: Bench) -> Mapping[str, Result]:
    """Deliver the same signals to two destinations, in turn with one."""
    signals = bench.rows(10_000)
    with Destination() as destination, Destination() as second:
        rates, references = bench.alternate(
            3,
            lambda: _drained_to_both(bench, destination, second, signals),
            lambda: drained(bench, destination, signals),
        )
    return {TWO_DESTINATIONS.key: Result(rates, references)}


def to(destination: Destination, senders: int = 2) -> dict[str, str]:
    """Return the environment of an application that delivers to `url` without limits."""
    return {
        "DEST_WEBHOOK_URL": destination.url,
        "DEST_WEBHOOK_RATE_LIMITING_ENABLED": "false",
        "FORWARDING_WORKERS": str(senders),
    }


def waits(
    application: Application, destination: Destination, seconds: float, rate: float, tickers: tuple[str, ...]
) -> list[float]:
    """Return the milliseconds from each signal's 202 to its arrival; 0 where the request was faster."""
    posted = post_steadily(application, rate=rate, seconds=seconds, tickers=tickers)
    destination.wait(len(posted), seconds=120)
    arrived = destination.arrivals()
    return [max(0.0, (arrived[signal] - post.answered) * 1000) for signal, post in posted.items()]


def percentile(values: list[float], percent: int) -> float:
    """Return the value that so many percent of the values do not exceed."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def drained(bench: Bench, destination: Destination, signals: int, database: Database | None = None) -> float:
    """Return the deliveries a second of a queue that waits when the application starts."""
    if database is None:
        with bench.database() as fresh:
            fresh.store_history(bench.rows(100_000))
            return drained(bench, destination, signals, fresh)
    database.store_approved(signals, TICKERS)
    with bench.application(database, environment=to(destination, SENDERS)):
        destination.wait(signals, seconds=300)
        return destination.rate()


def _drained_to_both(bench: Bench, first: Destination, second: Destination, signals: int) -> float:
    """Return the deliveries a second to both destinations of a queue that waits when the application starts."""
    entry = {"name": "second", "url": second.url, "ticker_gap_seconds": 0, "rate_limiting_enabled": False}
    with bench.database() as database:
        database.store_history(bench.rows(100_000))
        database.store_approved(signals, TICKERS)
        database.share_orders("second")
        with bench.application(database, environment=to(first, SENDERS), destinations=(entry,)):
            for each in (first, second):
                each.wait(signals, seconds=300)
            return first.rate(second)


def _posted(bench: Bench, destination: Destination, signals: int) -> float:
    """The reference: post a body, keep its outcome in a row, one commit each."""
    with bench.database() as database:
        database.execute(_KEPT)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_post_all(database.url, destination.url, signals))
        destination.wait(signals, seconds=5)
        return destination.rate()


async def _post_all(database_url: str, url: str, signals: int) -> None:
    left = iter(range(signals))
    async with (
        asyncpg.create_pool(database_url, min_size=8, max_size=8) as pool,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
    ):

        async def post() -> None:
            for number in left:
                signal = uuid.uuid4()
                body = json.dumps(
                    {"ticker": f"T{number % TICKERS}", "action": "buy", "price": 100.25, "n": number}
                )
                headers = {"webhook-id": str(signal), "Content-Type": "application/json"}
                async with client.post(url, data=body, headers=headers) as answer:
                    await answer.read()
                await pool.execute("INSERT INTO kept (id, status) VALUES ($1, $2)", signal, answer.status)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(SENDERS):
                tasks.create_task(post())


MEASUREMENTS = (
    Measurement("delivery.latency", (P95, P99), latency),
    Measurement("delivery.drain", (DRAIN,), drain),
    # a version before has one destination
    Measurement("delivery.two_destinations", (TWO_DESTINATIONS,), two_destinations, has_base=False),
)
