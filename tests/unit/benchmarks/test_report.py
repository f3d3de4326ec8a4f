"""The benchmark's tables: verdicts follow from figures, and the README shows the run that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from benchmarks import picture, report
from benchmarks.catalogue import MEASUREMENTS, ROWS
from benchmarks.measurement import alternate, select
from benchmarks.report import Run
from benchmarks.row import Result, Row, at_most, more_at_most, ratio_at_least, ratio_at_most, verdict

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.row import Budget

RATE = Row("rate.durable", "a rate", "by counting", "/s", "its reference", ratio_at_least(0.9))
RUN = Run(
    {RATE.key: Result((900.0, 1000.0, 950.0), (1000.0, 1000.0, 1000.0), "a note")},
    {"commit": "0123456789ab", "machine": "2 × CPU", "system": "Debian"},
    "make bench",
    12.4,
)


@pytest.mark.parametrize(
    ("budget", "figures", "references", "expected"),
    [
        (at_most(20, "ms"), (10.0, 19.0, 30.0), (), "within"),
        (at_most(20, "ms"), (10.0, 21.0, 30.0), (), "over"),
        (ratio_at_least(0.9), (900.0,), (1000.0,), "within"),
        (ratio_at_least(0.9), (890.0,), (1000.0,), "over"),
        (ratio_at_most(2.5), (2.5,), (1.0,), "within"),
        (ratio_at_most(2.5), (2.6,), (1.0,), "over"),
        (more_at_most(6, "s"), (16.0,), (10.0,), "within"),
        (more_at_most(6, "s"), (16.5,), (10.0,), "over"),
        (at_most(0, "s"), (0.0,), (), "within"),
        (at_most(0, "s"), (0.1,), (), "over"),
        (None, (1.0,), (), "reported"),
    ],
)
def test_a_verdict_compares_the_median_with_the_budget(
    budget: Budget | None, figures: tuple[float, ...], references: tuple[float, ...], expected: str
) -> None:
    """Each kind of budget, on both sides of its limit; the picture's bar agrees."""
    row = Row("a.row", "what", "how", "s", "reference" if references else "", budget)
    result = Result(figures, references)
    assert verdict(row, result) == expected
    if budget:
        assert (budget.used(result.value(budget)) <= 1) == (expected == "within")


def test_a_ratio_is_the_median_of_the_pairs_own() -> None:
    """A machine that is twice as slow for one pair changes nothing."""
    result = Result((100.0, 50.0, 100.0), (200.0, 100.0, 200.0))
    assert (result.ratio, result.figure, result.reference) == (0.5, 100.0, 200.0)


def test_figures_and_references_are_taken_in_turn() -> None:
    """Every other round in reverse, so that neither is always the first."""
    taken: list[str] = []

    def take(name: str) -> float:
        taken.append(name)
        return float(len(taken))

    assert alternate(2, lambda: take("figure"), lambda: take("reference")) == ((1.0, 4.0), (2.0, 3.0))
    assert taken == ["figure", "reference", "reference", "figure"]


def test_a_group_or_a_measurement_is_chosen_by_name() -> None:
    """A name that fits nothing is said, with those that would."""
    assert select(MEASUREMENTS, "") == list(MEASUREMENTS)
    assert {item.group for item in select(MEASUREMENTS, "ingest,soak")} == {"ingest", "soak"}
    assert [item.name for item in select(MEASUREMENTS, "delivery.drain")] == ["delivery.drain"]
    with pytest.raises(ValueError, match=r"ONLY=nothing names no group \(ingest, "):
        select(MEASUREMENTS, "nothing")


def test_every_row_has_a_key_of_its_own_and_a_reference_where_its_budget_needs_one() -> None:
    """Keys tie a kept run to the catalogue."""
    assert len({row.key for row in ROWS}) == len(ROWS)
    for measurement in MEASUREMENTS:
        assert all(row.key.startswith(f"{measurement.group}.") for row in measurement.rows)
    for row in ROWS:
        if row.budget and str(row.budget)[-1] == "×":
            assert row.reference


def test_a_run_is_kept_and_read_again(tmp_path: Path) -> None:
    """What was written makes the same tables."""
    RUN.write(tmp_path)
    again = Run.read(tmp_path)
    assert again is not None
    assert report.table(again, [RATE]) == report.table(RUN, [RATE])
    assert Run.read(tmp_path / "elsewhere") is None


def test_the_table_shows_figure_spread_reference_ratio_and_verdict() -> None:
    """One line with all of it."""
    line = report.table(RUN, [RATE]).splitlines()[-1]
    assert line == (
        "| a rate | 950/s (900 – 1,000) | 1,000/s (1,000 – 1,000): its reference | 0.95 × | ≥ 0.9 × | ✓ "
        "| by counting. a note |"
    )


def test_the_picture_is_well_formed_and_names_every_row_with_a_budget() -> None:
    """A name with a markup character in it does not break it."""
    row = Row("rate.durable", "a <rate> & more", "by counting", "/s", "its reference", ratio_at_least(0.9))
    drawn = ET.fromstring(picture.draw([row], RUN.results, "title"))  # noqa: S314  # our own text
    assert "a <rate> & more" in [element.text for element in drawn.iter()]


def test_the_readme_shows_the_run_that_is_kept() -> None:
    """`python -m benchmarks.report` writes it; so does a full `make bench`."""
    text = report.README.read_text("utf-8")
    shown = text.partition(report.BEGIN)[2].partition(report.END)[0].strip()
    assert shown == report.short_table(Run.read(report.RESULTS))


def test_the_kept_table_is_the_one_of_the_kept_run() -> None:
    """Nobody edits a figure."""
    run = Run.read(report.RESULTS)
    path = report.RESULTS / "table.md"
    assert path.exists() == (run is not None)
    if run is not None:
        assert path.read_text("utf-8") == report.table(run)
