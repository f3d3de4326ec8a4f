"""`make bench BASE=`: both versions in turn, ratios of pairs, and what a base lacks is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import comparison
from benchmarks.bench import Bench
from benchmarks.catalogue import MEASUREMENTS
from benchmarks.comparison import TAKES
from benchmarks.measurement import Measurement
from benchmarks.report import Run
from benchmarks.row import Result, Row
from benchmarks.version import CURRENT, UnknownCommitError, Version, prepare

RATE = Row("rate.one", "a rate", "by counting", "/s")
WAIT = Row("rate.two", "a wait", "by a clock", "ms")
HOST = Row("host.one", "a host", "by a clock", "s")
BASE = Version("0123456789ab", Path("/nowhere"), "python")


def test_versions_alternate_and_each_pair_has_a_ratio() -> None:
    """Every other time in reverse; the machine's speed differs between pairs and not within one."""
    taken: list[Version] = []

    def run(bench: Bench) -> dict[str, Result]:
        taken.append(bench.version)
        speed = 1 + (len(taken) - 1) // 2
        figure = 90.0 * speed if bench.version is CURRENT else 100.0 * speed
        return {RATE.key: Result((figure,)), WAIT.key: Result((1.0 if bench.version is CURRENT else 0.0,))}

    bench = Bench(quick=True, compares=True)
    said: list[str] = []
    measured = [
        Measurement("rate.all", (RATE, WAIT), run),
        Measurement("host.all", (HOST,), run, has_base=False),
    ]
    compared = comparison.compare(bench, measured, BASE, said.append)
    assert taken == [CURRENT, BASE, BASE, CURRENT] * 2 + [CURRENT, BASE]
    assert len(compared.results[RATE.key].figures) == len(compared.results[RATE.key].references) == TAKES
    assert compared.results[RATE.key].ratio == pytest.approx(0.9)
    assert said == ["rate.all …", "  rate.one: 0.900 × (0.900 – 0.900)", "  rate.two: –"]
    assert bench.version is CURRENT

    run_ = Run(compared.results, {"base": BASE.name}, "make bench BASE=x", 2)
    lines = comparison.table(run_, [RATE, WAIT, HOST], compared.without_base).splitlines()
    assert lines[-3] == (
        "| a rate | 270/s (90 – 450) | 300/s (100 – 500) | 0.900 × (0.900 – 0.900) | more is better |"
    )
    assert lines[-2] == "| a wait | 1 ms (1 – 1) | 0 ms (0 – 0) | – | less is better |"
    assert lines[-1].startswith("| a host | – | – | – | deploys this checkout")


def test_a_base_that_lacks_something_costs_its_row_only() -> None:
    def run(bench: Bench) -> dict[str, Result]:
        if bench.version is BASE:
            raise RuntimeError("404 for /new\nwith details")
        return {RATE.key: Result((1.0,))}

    def other(_: Bench) -> dict[str, Result]:
        return {WAIT.key: Result((1.0,))}

    measured = [Measurement("rate.one", (RATE,), run), Measurement("rate.two", (WAIT,), other)]
    compared = comparison.compare(Bench(quick=True, compares=True), measured, BASE, list[str]().append)
    assert compared.without_base == {RATE.key: "the base cannot be measured: 404 for /new"}
    assert list(compared.results) == [WAIT.key]


def test_what_this_checkout_lacks_ends_the_run() -> None:
    def run(bench: Bench) -> dict[str, Result]:
        raise RuntimeError(bench.version.name)

    with pytest.raises(RuntimeError, match="this checkout"):
        comparison.compare(
            Bench(quick=True, compares=True),
            [Measurement("rate.one", (RATE,), run)],
            BASE,
            list[str]().append,
        )


def test_a_comparison_takes_the_figure_once_and_no_reference() -> None:
    bench = Bench(quick=False, compares=True)
    assert bench.alternate(5, lambda: 7.0, lambda: pytest.fail("a reference was taken")) == ((7.0,), ())
    assert Bench(quick=False).alternate(2, lambda: 1.0, lambda: 2.0) == ((1.0, 1.0), (2.0, 2.0))


def test_a_base_that_is_no_commit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownCommitError):
        prepare("no-such-commit")
    assert program.main(["--base", "no-such-commit", "--only", "ingest"]) == 2
    assert "BASE=no-such-commit is not a commit of this repository" in capsys.readouterr().err


def test_the_rows_without_a_base_are_those_of_hosts_the_soak_and_new_tables() -> None:
    without = [item for item in MEASUREMENTS if not item.has_base]
    assert [item.name for item in without if item.group == "delivery"] == ["delivery.two_destinations"]
    assert {item.group for item in without} == {"controller", "delivery", "deploy", "soak", "what_if"}
