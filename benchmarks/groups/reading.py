"""Reading with a million signals stored: a page of them, the health answer, an export."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.measurement import Measurement
from benchmarks.row import Result, Row, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from benchmarks.bench import Bench

_REQUESTS = 60
_BESIDE = "1,000,000 signals stored, one request after the other over one connection"

PAGE = Row(
    "reading.page",
    "a page of signals",
    f"`GET /admin/signals`, the newest and 10,000 pages back; {_BESIDE}",
    "ms",
    budget=at_most(50, "ms"),
)
LIST = Row(
    "reading.list",
    "the admin page's list, as HTML",
    f"`GET /admin/page/signals`, with and without filters; {_BESIDE}",
    "ms",
    budget=at_most(50, "ms"),
)
HEALTH = Row("reading.health", "`/health`", f"`GET /health`; {_BESIDE}", "ms", budget=at_most(5, "ms"))
EXPORT = Row(
    "reading.export",
    "memory of an export of all signals",
    "`POST /admin/database/export` read to its end; the application's peak resident memory over what it had",
    "MB",
    budget=at_most(20, "MB"),
)


def answers(bench: Bench) -> Mapping[str, Result]:
    """Request each often enough for a median."""
    database = bench.history
    middle = database.value("SELECT max(seq) / 2 FROM signals")
    with bench.application(database, ("T0", "T1")) as application, application.session() as client:
        pages = ("/admin/signals", f"/admin/signals?cursor={middle}")
        lists = ("/admin/page/signals", "/admin/page/signals?status=failed", "/admin/page/signals?ticker=H7")
        return {
            PAGE.key: Result(_times(client, application.url, pages, bench.repeats(_REQUESTS))),
            LIST.key: Result(_times(client, application.url, lists, bench.repeats(_REQUESTS))),
            HEALTH.key: Result(_times(client, application.url, ("/health",), bench.repeats(_REQUESTS))),
        }


def export(bench: Bench) -> Mapping[str, Result]:
    """Read an export as a browser saves it."""
    figures = []
    signals = bench.history.value("SELECT count(*) FROM signals")
    for _ in range(bench.rounds(2)):
        with bench.application(bench.history, ("T0", "T1")) as application, application.session() as client:
            client.get(f"{application.url}/admin/signals", timeout=30).raise_for_status()
            before = application.memory()
            application.forget_peak()
            started = time.monotonic()
            lines = _read(client, f"{application.url}/admin/database/export")
            seconds = time.monotonic() - started
            if lines < signals:
                raise RuntimeError(f"the export has {lines} lines for {signals} signals")
            figures.append(application.peak_memory() - before)
    return {EXPORT.key: Result(tuple(figures), note=f"{signals:,} signals in {seconds:.0f} s")}


def _times(client: requests.Session, base: str, paths: tuple[str, ...], count: int) -> tuple[float, ...]:
    """Return the milliseconds of so many requests for each path."""
    times = []
    for number in range(count * len(paths) + 1):
        started = time.perf_counter()
        answer = client.get(base + paths[number % len(paths)], timeout=30)
        times.append((time.perf_counter() - started) * 1000)
        answer.raise_for_status()
    return tuple(times[1:])  # the first one opened the connections


def _read(client: requests.Session, url: str) -> int:
    """Count the lines of a response without storing them."""
    lines = 0
    with client.post(url, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_content(1 << 20):
            lines += chunk.count(b"\n")
    return lines


MEASUREMENTS = (
    Measurement("reading.answers", (PAGE, LIST, HEALTH), answers),
    Measurement("reading.export", (EXPORT,), export),
)
