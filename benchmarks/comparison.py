"""Every row of two versions in turn, in one run, on one machine: `make bench BASE=<commit>`."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import asyncpg

from benchmarks.report import spread
from benchmarks.row import Result
from benchmarks.version import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.bench import Bench
    from benchmarks.measurement import Measurement
    from benchmarks.report import Run
    from benchmarks.row import Row
    from benchmarks.version import Version

TAKES = 5
_ONE_VERSION = "deploys this checkout on a throw-away host, or runs for ten minutes: measured for one version"
# The errors of a version that lacks what a row needs.
_LACKING = (RuntimeError, OSError, asyncpg.PostgresError)


@dataclass(frozen=True)
class Compared:
    """Results by row, the base's figures as references; rows that could not be compared, and why."""

    results: Mapping[str, Result]
    without_base: Mapping[str, str]


def compare(
    bench: Bench, measurements: Sequence[Measurement], base: Version, say: Callable[[str], None]
) -> Compared:
    """Take each measurement `TAKES` times of both versions, every other time in reverse order.

    Each take begins with a new database, a new process and a warm-up. The server, the load and the
    destination are the same for both.
    """
    results: dict[str, Result] = {}
    without_base: dict[str, str] = {}
    for measurement in measurements:
        if not measurement.has_base:
            without_base.update(dict.fromkeys((row.key for row in measurement.rows), _ONE_VERSION))
            continue
        say(f"{measurement.name} …")
        pairs, lacking = _pairs(bench, measurement, base)
        for row in measurement.rows:
            if lacking:
                without_base[row.key] = lacking
                continue
            figures, references = (tuple(take[side][row.key].figure for take in pairs) for side in (0, 1))
            results[row.key] = Result(figures, references)
            say(f"  {row.key}: {_ratio(results[row.key])}")
    return Compared(results, without_base)


def _pairs(
    bench: Bench, measurement: Measurement, base: Version
) -> tuple[list[tuple[Mapping[str, Result], Mapping[str, Result]]], str]:
    """Return the takes of both versions, or why the base cannot be measured."""
    pairs = []
    for number in range(TAKES):
        found: dict[Version, Mapping[str, Result]] = {}
        for version in (CURRENT, base) if number % 2 == 0 else (base, CURRENT):
            bench.version = version
            try:
                found[version] = measurement.run(bench)
            except _LACKING as error:
                if version is CURRENT:
                    raise
                return [], f"the base cannot be measured: {str(error).strip().splitlines()[0][:200]}"
            finally:
                bench.version = CURRENT
        pairs.append((found[CURRENT], found[base]))
    return pairs, ""


def table(run: Run, rows: Sequence[Row], without_base: Mapping[str, str]) -> str:
    """Render both versions' figures and the ratio of every row."""
    base = run.machine["base"]
    lines = [
        f"# This checkout compared with {base}",
        "",
        f"`{run.command}` took {run.minutes:.0f} minutes. Figures are medians, with smallest and largest, of",
        f"{TAKES} takes, both versions in turn. Ratios are this checkout by base: medians of the pairs' own.",
        "",
        *(f"* {name}: {value}" for name, value in run.machine.items()),
        "",
        f"| what | this checkout | {base} | ratio | |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if result := run.results.get(row.key):
            better = "more is better" if row.unit.startswith("/") else "less is better"
            cells = (
                row.what, spread(result.figures, row.unit), spread(result.references, row.unit),
                _ratio(result), better,
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
        elif row.key in without_base:
            lines.append(f"| {row.what} | – | – | – | {without_base[row.key]} |")
    return "\n".join([*lines, ""])


def _ratio(result: Result) -> str:
    """Return the median of the pairs' ratios, the smallest and the largest; None for a base of 0."""
    ratios = [a / b for a, b in zip(result.figures, result.references, strict=True) if b]
    if not ratios:
        return "–"
    return f"{median(ratios):.3f} × ({min(ratios):.3f} – {max(ratios):.3f})"
