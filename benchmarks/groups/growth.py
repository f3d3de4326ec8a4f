"""Growth: how much a million stored signals slow down new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.destination import Destination
from benchmarks.groups.delivery import SENDERS, TICKERS, drained
from benchmarks.load import post_alerts
from benchmarks.measurement import Measurement
from benchmarks.row import Result, Row, ratio_at_least

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.application import Application
    from benchmarks.bench import Bench
    from benchmarks.database import Database

_HISTORY = "1,000,000 ended signals with their events and attempts"

INGEST = Row(
    "growth.ingest",
    "ingest with a million signals stored",
    f"as durable ingest, with {_HISTORY}",
    "/s",
    "ingest when empty",
    ratio_at_least(0.9),
)
CLAIM = Row(
    "growth.claim",
    "claiming and delivering with a million signals stored",
    f"5,000 approved signals over {TICKERS:,} tickers, {SENDERS} senders, with {_HISTORY}",
    "/s",
    "the same when empty",
    ratio_at_least(0.9),
)


def ingest(bench: Bench) -> Mapping[str, Result]:
    """Post to both databases in turn, each through its own application."""
    seconds = bench.seconds(6)
    full = bench.history
    full.execute("DELETE FROM top_n_lists")  # another measurement's: here nothing is decided
    with bench.database() as empty, bench.application(full) as grown, bench.application(empty) as alone:
        post_alerts(grown, seconds=bench.seconds(2))
        post_alerts(alone, seconds=bench.seconds(2))
        rates, references = bench.alternate(
            5,
            lambda: _rate(grown, full, seconds),
            lambda: _rate(alone, empty, seconds),
        )
        full.end_waiting()
    return {INGEST.key: Result(rates, references)}


def claim(bench: Bench) -> Mapping[str, Result]:
    """Deliver the same queue in both databases in turn."""
    signals = bench.rows(5_000)
    full = bench.history
    with bench.database() as empty, Destination() as destination:
        rates, references = bench.alternate(
            5,
            lambda: drained(bench, destination, signals, full),
            lambda: drained(bench, destination, signals, empty),
        )
    return {CLAIM.key: Result(rates, references)}


def _rate(application: Application, database: Database, seconds: float) -> float:
    database.end_waiting()
    return post_alerts(application, seconds=seconds).rate


MEASUREMENTS = (
    Measurement("growth.ingest", (INGEST,), ingest),
    Measurement("growth.claim", (CLAIM,), claim),
)
