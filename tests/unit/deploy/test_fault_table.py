"""The table of `make faults` is complete, and its most important faults are also in `make test`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.results import COLUMNS, Outcome, document
from tests.faults.table import CLOSED, IN_MAKE_TEST, POWER_CUTS, ROWS, Row

TESTS = Path(__file__).resolve().parents[2]


def test_there_is_a_row_for_every_stage_and_every_flow() -> None:
    """Twenty-six faults and fourteen interruptions at the least."""
    faults = [row for row in ROWS if not row.interrupted]
    interruptions = [row for row in ROWS if row.interrupted]
    assert (len(faults) >= 26, len(interruptions) >= 14) == (True, True)
    assert {row.codes for row in interruptions} == {(130,), (137,), (0,)}
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.stage for row in ROWS} == {
        *("before anything", "in fetch", "in build", "in migration"),
        *("between stop and start", "after start", "in dump", "in restore"),
    }
    flows = {row.flow.split()[0] if row.flow.startswith("--") else "" for row in ROWS}
    assert flows >= {"", "--update", "--quickupdate", "--db", "--rebuild", "--rollback", "--restore-db"}


@pytest.mark.parametrize("rows", [CLOSED, POWER_CUTS], ids=["closed", "cut"])
@pytest.mark.parametrize("flow", ["update", "db", "restore"])
def test_terminal_and_power_are_lost_at_six_points_of_each_flow(rows: tuple[Row, ...], flow: str) -> None:
    found = {row.closes or row.cut for row in rows if row.name.startswith(f"{flow}-")}
    assert len(found) >= 6
    assert all(row.interrupted for row in rows)


def test_twelve_of_them_and_more_are_in_make_test() -> None:
    assert len(IN_MAKE_TEST) >= 12
    assert IN_MAKE_TEST.keys() <= {row.name for row in ROWS}
    for place in IN_MAKE_TEST.values():
        file, _, name = place.partition("::")
        assert f"def {name}(" in (TESTS / file).read_text("utf-8"), place


def test_the_file_names_commit_and_failures() -> None:
    cells = ["x"] * (len(COLUMNS) - 1)
    outcomes = [Outcome("good", cells, []), Outcome("bad", [*cells[:-1], "a|b"], ["rows differ"])]
    lines = document(outcomes, commit="0123456789ab", machine="Linux, 2 cores").splitlines()
    assert "on 0123456789ab, on Linux, 2 cores: 1 of 2 rows are as they should be." in lines[2]
    assert lines[-2].endswith("| as it should be |")
    assert lines[-1].endswith("| a\\|b | **rows differ** |")
    assert {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")} == {
        len(COLUMNS) + 2
    }
