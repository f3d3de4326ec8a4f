"""Ten minutes at 500 signals a second: whether anything grows that should not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.destination import Destination
from benchmarks.groups.delivery import SENDERS, percentile, to, waits
from benchmarks.measurement import Measurement
from benchmarks.page import open_page
from benchmarks.row import Result, Row, ratio_at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.bench import Bench
    from benchmarks.database import Database

_RATE, _SLICES, _SLICE_SECONDS = 500, 20, 30.0
_LOAD = f"{_SLICES * _SLICE_SECONDS / 60:.0f} minutes at {_RATE} signals/s over 500 tickers, all approved, limits off, {SENDERS} senders"

DEAD = Row(
    "soak.dead",
    "dead tuples of the queue tables at the end of a soak",
    f"{_LOAD}; the most of the last two minutes",
    "rows",
    "the most of the third and fourth minute",
    ratio_at_most(1.5),
)
WAIT = Row(
    "soak.wait",
    "202 → request, p95, at the end of a soak",
    f"{_LOAD}; the last two minutes",
    "ms",
    "the third and fourth minute",
    ratio_at_most(1.5),
)
APP = Row(
    "soak.app",
    "app memory at the end of a soak",
    f"{_LOAD}; the last two minutes",
    "MB",
    "the third and fourth minute",
    ratio_at_most(1.1),
)
PAGE = Row(
    "soak.page",
    "the live page's memory at the end of a soak",
    f"{_LOAD}; JavaScript heap after a collection, the last two minutes",
    "MB",
    "the third and fourth minute",
    ratio_at_most(1.2),
)

_DEAD = """
SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname IN ('signals', 'attempts', 'intake_keys', 'positions')
"""


def soak(bench: Bench) -> Mapping[str, Result]:
    """Post for ten minutes in slices, and measure everything after each."""
    tickers = tuple(f"T{number}" for number in range(500))
    slices = 4 if bench.quick else _SLICES
    dead, wait, app, page = [], [], [], []
    with (
        bench.database() as database,
        Destination() as destination,
        bench.application(database, tickers, to(destination, SENDERS)) as application,
        open_page(application) as heap,
        ThreadPoolExecutor(1) as beside,  # Playwright keeps an event loop in this thread
    ):
        for _ in range(slices):
            posting = beside.submit(
                waits, application, destination, bench.seconds(_SLICE_SECONDS), _RATE, tickers
            )
            wait.append(percentile(posting.result(), 95))
            dead.append(beside.submit(_dead_tuples, database).result())
            app.append(application.memory())
            page.append(heap())
    return {
        DEAD.key: _end_and_beginning(dead, max),
        WAIT.key: _end_and_beginning(wait, median),
        APP.key: _end_and_beginning(app, median),
        PAGE.key: _end_and_beginning(page, median),
    }


def _dead_tuples(database: Database) -> float:
    return float(database.value(_DEAD))


def _end_and_beginning(values: list[float], of: Callable[[list[float]], float]) -> Result:
    """Compare the last fifth with the second: by then caches are full and plans are made."""
    fifth = max(1, len(values) // 5)
    return Result((of(values[-fifth:]),), (of(values[fifth : 2 * fifth]),))


MEASUREMENTS = (Measurement("soak.soak", (DEAD, WAIT, APP, PAGE), soak, has_base=False),)
