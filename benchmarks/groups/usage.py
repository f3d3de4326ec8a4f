"""What the application uses: memory under load, statements for a signal, time to start and to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.destination import Destination
from benchmarks.groups.delivery import RATE, SENDERS, to
from benchmarks.load import post_alerts
from benchmarks.measurement import Measurement
from benchmarks.row import Result, Row, at_most
from benchmarks.steady import post_steadily

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.bench import Bench

MEMORY = Row(
    "usage.memory",
    "app memory under full load",
    f"peak resident memory; wrk over 64 connections, half of it approved, {SENDERS} senders, limits off",
    "MB",
    budget=at_most(200, "MB"),
)
STATEMENTS = Row(
    "usage.statements",
    "statements per signal, through its whole life",
    f"`pg_stat_statements`, all that the application sent, transaction control included; {RATE} signals/s, all delivered",
    "",
    budget=at_most(8, ""),
)
START = Row(
    "usage.start",
    "app start to healthy",
    "from the start of the process to the first 200 of `/health`",
    "s",
    budget=at_most(1.5, "s"),
)
STOP = Row(
    "usage.stop",
    "stop on TERM, no request open",
    "from the signal to the end of the process",
    "s",
    budget=at_most(1, "s"),
)


def memory(bench: Bench) -> Mapping[str, Result]:
    """Post as fast as it goes while decisions are made and deliveries leave."""
    tickers = tuple(f"T{number}" for number in range(0, 100, 2))
    with (
        bench.database() as database,
        Destination() as destination,
        bench.application(database, tickers, to(destination, SENDERS)) as application,
    ):
        post_alerts(application, seconds=bench.seconds(30))
        return {MEMORY.key: Result((application.peak_memory(),))}


def statements(bench: Bench) -> Mapping[str, Result]:
    """Count the server's statements while signals pass from the 202 to the destination's answer."""
    tickers = tuple(f"T{number}" for number in range(500))
    with bench.database() as database, Destination() as destination:
        database.count_statements()
        with bench.application(database, tickers, to(destination)) as application:
            post_steadily(application, rate=RATE, seconds=2, tickers=tickers)  # connections are open
            database.forget_statements()
            posted = post_steadily(application, rate=RATE, seconds=bench.seconds(20), tickers=tickers)
            destination.wait(len(posted) + 2 * RATE, seconds=120)
            calls = sum(database.statements().values())
    return {STATEMENTS.key: Result((calls / len(posted),), note=f"{calls:,} for {len(posted):,} signals")}


def lifetime(bench: Bench) -> Mapping[str, Result]:
    """Measure start and stop."""
    starts, stops = [], []
    with bench.database() as database:
        for _ in range(bench.rounds(5)):
            with bench.application(database, ("T0", "T1")) as application:
                pass
            starts.append(application.start_seconds)
            stops.append(application.stop_seconds)
    return {START.key: Result(tuple(starts)), STOP.key: Result(tuple(stops))}


MEASUREMENTS = (
    Measurement("usage.memory", (MEMORY,), memory),
    Measurement("usage.statements", (STATEMENTS,), statements),
    Measurement("usage.lifetime", (START, STOP), lifetime),
)
