"""Intake: how many alerts a second become durable, and how soon each is answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.application import Application
from benchmarks.load import CONNECTIONS, post_alerts
from benchmarks.measurement import Measurement
from benchmarks.row import Result, Row, at_most, more_at_most, ratio_at_least

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.bench import Bench
    from benchmarks.database import Database
    from benchmarks.load import Receiver

_SECONDS, _ROUNDS = 8.0, 5

_LOAD = f"wrk, {CONNECTIONS} connections, distinct bodies with the secret"
_DURABLE_HOW = f"{_LOAD}; 202 after the commit, `synchronous_commit=on`, nothing decided"

DURABLE = Row(
    "ingest.durable",
    "durable ingest, compared with answering only",
    _DURABLE_HOW,
    "/s",
    "the same route answering without storing",
    ratio_at_least(0.9),
)
AGAINST_PGBENCH = Row(
    "ingest.pgbench",
    "durable ingest, compared with pgbench",
    _DURABLE_HOW,
    "/s",
    f"pgbench: one-row insert, {CONNECTIONS} clients, same server",
    ratio_at_least(0.8),
)
EVERYTHING = Row(
    "ingest.everything",
    "ingest with everything on",
    f"{_LOAD}; every second ticker in the Top-N, deliveries on paper at the default limits",
    "/s",
)
LATENCY = Row(
    "ingest.latency",
    "ingest latency at half the maximum rate, p99",
    f"{_LOAD}, at a steady rate; from sending a post to its 202",
    "ms",
    budget=at_most(20, "ms"),
)
EDGE = Row(
    "ingest.edge",
    "ingest through the edge",
    f"{_DURABLE_HOW}; HAProxy and application on the same cores",
    "/s",
    "straight at the application",
    ratio_at_least(0.65),
)
EDGE_LATENCY = Row(
    "ingest.edge_latency",
    "ingest latency through the edge, p50",
    f"{_LOAD}, at half of the maximum rate through the edge",
    "ms",
    "straight at the application, at the same rate",
    more_at_most(5, "ms"),
)

# The minimum of an alert: a key, a time, its ticker, its body.
_PGBENCH_TABLE = """
CREATE TABLE one_row (
    id uuid PRIMARY KEY, received_at timestamptz NOT NULL DEFAULT clock_timestamp(), ticker text NOT NULL, body bytea NOT NULL)
"""
_BODY = json.dumps({"ticker": "T1", "action": "buy", "price": 100.25, "interval": "5", "note": "x" * 90})
_PGBENCH_SCRIPT = f"INSERT INTO one_row (id, ticker, body) VALUES (gen_random_uuid(), 'T1', '{_BODY}');\n"  # noqa: S608  # ours


def durable(bench: Bench) -> Mapping[str, Result]:
    """Take the three rates in turn: with storing, without, and pgbench's."""
    seconds, inserts = bench.seconds(_SECONDS), bench.rows(96_000) // CONNECTIONS
    with bench.database() as database, bench.application(database) as application:
        post_alerts(application, seconds=bench.seconds(3))  # connections, plans and tables are warm
        if bench.compares:
            rate = Result((_rate(application, database, seconds),))
            return {DURABLE.key: rate, AGAINST_PGBENCH.key: rate}
        without = Application(database.url, module="benchmarks.without_storing")
        with bench.database() as plain, without as answering:
            plain.execute(_PGBENCH_TABLE)
            post_alerts(answering, seconds=1)
            stored, answered, inserted = bench.alternate(
                _ROUNDS,
                lambda: _rate(application, database, seconds),
                lambda: post_alerts(answering, seconds=seconds).rate,
                lambda: bench.pgbench(plain, _PGBENCH_SCRIPT, clients=CONNECTIONS, transactions=inserts),
            )
    return {DURABLE.key: Result(stored, answered), AGAINST_PGBENCH.key: Result(stored, inserted)}


def latency(bench: Bench) -> Mapping[str, Result]:
    """Find the maximum, then post at half of it."""
    figures, rates = [], []
    with bench.database() as database, bench.application(database) as application:
        post_alerts(application, seconds=bench.seconds(3))
        for _ in range(bench.rounds(3)):
            rate = _rate(application, database, bench.seconds(4)) / 2
            database.empty()
            figures.append(post_alerts(application, seconds=bench.seconds(_SECONDS), rate=rate).p99_ms)
            rates.append(rate)
    return {LATENCY.key: Result(tuple(figures), note=f"at {min(rates):,.0f}–{max(rates):,.0f} posts/s")}


def through_edge(bench: Bench) -> Mapping[str, Result]:
    """Take rates and then latencies in turn: through an edge, and directly at the same application."""
    seconds = bench.seconds(_SECONDS)
    with (
        bench.database() as database,
        bench.application(database, environment={"FORWARDED_ALLOW_IPS": "*"}) as application,
        bench.edge(application) as edge,
    ):
        post_alerts(edge, seconds=bench.seconds(3))
        rates, direct = bench.alternate(
            _ROUNDS,
            lambda: _rate(edge, database, seconds),
            lambda: _rate(application, database, seconds),
        )
        half = min(rates) / 2
        database.empty()
        latencies, direct_latencies = bench.alternate(
            3,
            lambda: post_alerts(edge, seconds=seconds, rate=half).p50_ms,
            lambda: post_alerts(application, seconds=seconds, rate=half).p50_ms,
        )
    note = f"at {half:,.0f} posts/s"
    return {
        EDGE.key: Result(rates, direct),
        EDGE_LATENCY.key: Result(latencies, direct_latencies, note),
    }


def everything(bench: Bench) -> Mapping[str, Result]:
    """Post while decisions are made and deliveries leave."""
    tickers = tuple(f"T{number}" for number in range(0, 100, 2))
    with bench.database() as database, bench.application(database, tickers) as application:
        post_alerts(application, seconds=bench.seconds(3))
        (rates,) = bench.alternate(3, lambda: post_alerts(application, seconds=bench.seconds(_SECONDS)).rate)
        decided = database.value("SELECT count(*) FROM signals WHERE status <> 'received'")
    return {EVERYTHING.key: Result(rates, note=f"{decided:,} signals decided meanwhile")}


def _rate(receiver: Receiver, database: Database, seconds: float) -> float:
    """Return the rate of durable posts into an empty table; every answered post must be stored."""
    database.empty()
    load = post_alerts(receiver, seconds=seconds)
    stored = database.value("SELECT count(*) FROM signals")
    if stored < load.requests:
        raise RuntimeError(f"{load.requests} posts were answered 202, and {stored} signals are stored")
    return load.rate


MEASUREMENTS = (
    Measurement("ingest.durable", (DURABLE, AGAINST_PGBENCH), durable),
    Measurement("ingest.everything", (EVERYTHING,), everything),
    Measurement("ingest.latency", (LATENCY,), latency),
    Measurement("ingest.edge", (EDGE, EDGE_LATENCY), through_edge),
)
