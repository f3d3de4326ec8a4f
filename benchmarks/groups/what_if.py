"""What-if over a million recorded signals: its memory, its time, and what it finds."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.measurement import Measurement
from benchmarks.recorded import store_week
from benchmarks.row import Result, Row, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.application import Application
    from benchmarks.bench import Bench

_A_BATCH = 5
_HOW = "`POST /admin/what-if` with a Top-20 instead of a Top-15, 1,000,000 recorded signals of a week"

MEMORY = Row(
    "what_if.memory",
    "memory of a what-if over a million signals",
    f"{_HOW}; the application's peak resident memory over what it had",
    "MB",
    budget=at_most(20, "MB"),
)
TIME = Row("what_if.time", "time of a what-if over a million signals", _HOW, "s")


class Run(NamedTuple):
    """A what-if: its comparison, how long it took, and by how much the application's memory grew, in MB."""

    found: Any
    seconds: float
    memory: float


def run(application: Application, **rules: Any) -> Run:  # noqa: ANN401  # JSON
    """Run a what-if of the last week at an application that has just started."""
    now = datetime.now(UTC)
    wanted = {"from": f"{now - timedelta(days=8):%FT%TZ}", "to": f"{now + timedelta(days=1):%FT%TZ}", **rules}
    with application.session() as client:
        client.get(f"{application.url}/admin/signals", timeout=30).raise_for_status()
        before = application.memory()
        application.forget_peak()
        started = time.monotonic()
        last = b"{}"
        with client.post(f"{application.url}/admin/what-if", json=wanted, stream=True, timeout=60) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                last = line
    result = json.loads(last).get("result")
    if result is None:
        raise RuntimeError(f"the what-if ended early: {last!r}")
    return Run(result["comparison"], time.monotonic() - started, application.peak_memory() - before)


def million(bench: Bench) -> Mapping[str, Result]:
    """Compare once: it reads every signal."""
    signals = bench.rows(1_000_000)
    with bench.database() as database:
        store_week(database.url, signals, _A_BATCH)
        with bench.application(database) as application:
            found, seconds, memory = run(application, top_n=20)
    if not found["reproduced"] == found["decisions"] == signals:
        raise RuntimeError(f"{found['reproduced']} of {signals} decisions were reproduced")
    note = f"{signals:,} decisions reproduced, {found['newly_approved']:,} others approved"
    return {MEMORY.key: Result((memory,), note=note), TIME.key: Result((seconds,))}


MEASUREMENTS = (Measurement("what_if.million", (MEMORY, TIME), million, has_base=False),)
