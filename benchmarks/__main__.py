"""`python -m benchmarks [--only NAMES] [--quick] [--base COMMIT]`: measure, print and keep (`make bench`)."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import comparison, picture, report
from benchmarks.bench import Bench
from benchmarks.catalogue import MEASUREMENTS, ROWS
from benchmarks.machine import describe
from benchmarks.measurement import select
from benchmarks.row import Result, verdict
from benchmarks.version import UnknownCommitError, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measurement import Measurement
    from benchmarks.version import Version


def main(arguments: Sequence[str]) -> int:
    """Run the chosen measurements; 0 if every row is within its budget, 1 if one is over, 2 for a wrong name.

    Only a full run is kept as the official one; others go to `results/scratch`, which git ignores. A quick
    run shows that everything works, so its verdicts count for nothing. A comparison with a base shows ratios
    and holds nothing to a budget.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure, and compare with the budgets."
    )
    parser.add_argument(
        "--only", default="", help="groups or measurements, with commas between: ingest,delivery.drain"
    )
    parser.add_argument("--quick", action="store_true", help="seconds for each row: shows that it works")
    parser.add_argument(
        "--base", default="", help="a commit: take every row of both versions in turn, and show the ratio"
    )
    asked = parser.parse_args(arguments)
    try:
        chosen = select(MEASUREMENTS, asked.only)
        base = prepare(asked.base) if asked.base else None
    except (ValueError, UnknownCommitError) as error:
        print(error, file=sys.stderr)
        return 2
    if base:
        _show_comparison(chosen, base, quick=asked.quick, command=_command(asked))
        return 0
    run = _measure(chosen, quick=asked.quick, command=_command(asked))
    official = not asked.quick and not asked.only
    folder = report.RESULTS if official else report.RESULTS / "scratch"
    run.write(folder)
    (folder / "table.md").write_text(report.table(run), "utf-8")
    (folder / "picture.svg").write_text(
        picture.draw(ROWS, run.results, "How much of its budget each row uses"), "utf-8"
    )
    if official:
        report.put_into_readme(run)
    print(f"\n{report.table(run)}\nkept in {folder}")
    over = [
        row.key for row in ROWS if row.key in run.results and verdict(row, run.results[row.key]) == "over"
    ]
    return 1 if over and not asked.quick else 0


def _measure(chosen: Sequence[Measurement], *, quick: bool, command: str) -> report.Run:
    results: dict[str, Result] = {}
    started = time.monotonic()
    with Bench(quick=quick) as bench:
        machine = describe(bench)
        for measurement in chosen:
            print(f"{measurement.name} …", flush=True)
            begun = time.monotonic()
            found = measurement.run(bench)
            for row in measurement.rows:
                result = results[row.key] = found[row.key]
                ratio = f", {result.ratio:.2f} × {row.reference}" if result.ratio is not None else ""
                print(
                    f"  {row.key}: {result.figure:,.4g} {row.unit}{ratio} [{verdict(row, result)}]",
                    flush=True,
                )
            print(f"  took {time.monotonic() - begun:.0f} s", flush=True)
        return report.Run(results, machine, command, (time.monotonic() - started) / 60)


def _show_comparison(chosen: Sequence[Measurement], base: Version, *, quick: bool, command: str) -> None:
    started = time.monotonic()
    with Bench(quick=quick, compares=True) as bench:
        machine = {**describe(bench), "base": base.name}
        compared = comparison.compare(bench, chosen, base, say=lambda line: print(line, flush=True))
        run = report.Run(compared.results, machine, command, (time.monotonic() - started) / 60)
    folder = report.RESULTS / "scratch" / "comparison"
    run.write(folder)
    table = comparison.table(run, ROWS, compared.without_base)
    (folder / "table.md").write_text(table, "utf-8")
    print(f"\n{table}\nkept in {folder}")


def _command(asked: argparse.Namespace) -> str:
    only = f" ONLY={shlex.quote(asked.only)}" if asked.only else ""
    base = f" BASE={shlex.quote(asked.base)}" if asked.base else ""
    return f"make bench{only}{base}{' QUICK=1' if asked.quick else ''}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
