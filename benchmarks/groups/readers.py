"""Trading while people read: how much 16 readers of the heaviest route slow down alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.destination import Destination
from benchmarks.groups.delivery import percentile, to
from benchmarks.measurement import Measurement
from benchmarks.readers import Readers
from benchmarks.row import Result, Row, at_most, ratio_at_most
from benchmarks.steady import post_steadily

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.application import Application
    from benchmarks.bench import Bench

_READERS, _RATE, _SECONDS, _ROUNDS = 16, 100, 15.0, 5
_PATH = "/admin/signals-history?hours=744"
_HOW = (
    f"{_READERS} parallel readers of `GET {_PATH}`, 1,000,000 signals stored; {_RATE} signals/s over 500 tickers,"
    " all approved, limits off"
)

INTAKE = Row(
    "readers.intake",
    "ingest latency while people read, p99",
    f"{_HOW}; from sending a post to its 202",
    "ms",
    "without readers",
    ratio_at_most(2),
)
WAIT = Row(
    "readers.wait",
    "202 → request while people read, p99",
    f"{_HOW}; from the 202 to the request's arrival at a destination on loopback",
    "ms",
    "without readers",
    ratio_at_most(2),
)
HEALTH = Row(
    "readers.health",
    "`/health` other than 200 while people read",
    f"{_HOW}; asked ten times a second",
    "answers",
    budget=at_most(0, "answers"),
)


def readers(bench: Bench) -> Mapping[str, Result]:
    """Post at the same rate with readers and without, in turn."""
    tickers = tuple(f"T{number}" for number in range(500))
    database = bench.history
    taken: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
    unwell: list[float] = []
    notes: list[str] = []
    with (
        Destination() as destination,
        bench.application(database, tickers, to(destination, senders=8)) as application,
    ):
        _p99s(bench, application, destination, tickers)  # connections, plans and tables are warm

        def with_readers() -> float:
            with Readers(application, _PATH, _READERS) as people:
                taken["with"].append(_p99s(bench, application, destination, tickers))
            unwell.append(float(people.probes.total() - people.probes["200"]))
            notes.append(", ".join(f"{count} × {status}" for status, count in sorted(people.reads.items())))
            return taken["with"][-1][0]

        def alone() -> float:
            taken["without"].append(_p99s(bench, application, destination, tickers))
            return taken["without"][-1][0]

        bench.alternate(_ROUNDS, with_readers, alone)
    database.end_waiting()
    figures, references = zip(*taken["with"], strict=True), zip(*taken["without"], strict=True)
    (intake, wait), (intake_alone, wait_alone) = figures, tuple(references) or ((), ())
    note = f"Readers were answered {'; '.join(notes)}"
    return {
        INTAKE.key: Result(intake, intake_alone, note),
        WAIT.key: Result(wait, wait_alone),
        HEALTH.key: Result(tuple(unwell)),
    }


def _p99s(
    bench: Bench, application: Application, destination: Destination, tickers: tuple[str, ...]
) -> tuple[float, float]:
    """Return the p99 milliseconds from sending to the 202, and from the 202 to the arrival."""
    posted = post_steadily(application, rate=_RATE, seconds=bench.seconds(_SECONDS), tickers=tickers)
    destination.wait(len(posted), seconds=120)
    arrived = destination.arrivals()
    waits = [max(0.0, arrived[signal] - post.answered) for signal, post in posted.items()]
    answers = [post.answered - post.sent for post in posted.values()]
    return percentile(answers, 99) * 1000, percentile(waits, 99) * 1000


MEASUREMENTS = (Measurement("readers.readers", (INTAKE, WAIT, HEALTH), readers),)
