"""No cell of an export is a formula, and an import reads every cell back unchanged."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.transfer.spreadsheet import Records, lines, neutral, restored, restored_from_before

SEPARATORS = ",;|\t"
ODD = st.text(alphabet=st.sampled_from("'=+-@\t\r\n\"a,;| \u00e9\uff1d"), max_size=12)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1.5", "@SUM(A1)", "'=1", " =1", '"=1', "\uff1d1", "\rx", "\nx"]
)
def test_a_formula_becomes_text(text: str) -> None:
    assert neutral(text) == f"'{text}"


@pytest.mark.parametrize("separator", [*SEPARATORS, "\r", "\n"])
@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", '"=1+1"', " =1", "'=1"])
def test_a_formula_after_a_separator_becomes_text(separator: str, formula: str) -> None:
    assert neutral(f"a{separator}{formula}{separator}b") == f"a{separator}'{formula}{separator}b"


def test_a_control_character_in_front_hides_no_formula() -> None:
    assert neutral("\t=1") == "'\t'=1"
    assert neutral("\r=1") == "'\r'=1"
    assert neutral("\n=1") == "'\n'=1"


@pytest.mark.parametrize(
    "text", ["", "AAPL", "1.5", "it's", "'quoted'", "{}", "a;b", "a\r\nb", "a-b", "a = b"]
)
def test_the_rest_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text


@given(ODD)
def test_every_text_survives_export_and_import(text: str) -> None:
    cell = neutral(text)
    assert restored(cell) == text
    assert cell[:1] not in {"=", "+", "-", "@", "\t", "\r", "\n"}
    ((read, empty),) = csv.reader(io.StringIO(lines([[text, None]]).decode(), newline=""))
    assert (restored(read), empty) == (text, "")


@given(st.lists(ODD, min_size=1, max_size=4), st.sampled_from(SEPARATORS))
def test_no_cell_begins_with_a_formula_whatever_the_separator_of_the_spreadsheet(
    texts: list[str], separator: str
) -> None:
    content = lines([texts]).decode()
    for row in csv.reader(io.StringIO(content, newline=""), delimiter=separator):
        for cell in row:
            assert not cell.lstrip(' "').startswith(("=", "+", "-", "@", "\uff1d"))


@given(ODD)
def test_a_cell_of_the_previous_version_is_read_back(text: str) -> None:
    bare = text.lstrip("'")
    cell = f"'{text}" if bare[:1] and bare[0] in "=+-@\t\r\n" else text  # what that version wrote
    assert restored_from_before(cell) == text


def test_numbers_are_numbers_times_are_alike_and_an_empty_text_is_not_nothing() -> None:
    east = datetime(2026, 11, 22, 10, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    row = [-7, Decimal("-1.50"), datetime(2026, 11, 22, 10, tzinfo=UTC), east, None, "", "'"]
    assert lines([row]).decode() == (
        "-7,-1.50,2026-11-22T10:00:00.000000Z,2026-11-22T04:30:00.000000Z,,',''\r\n"
    )
    assert restored("'") == ""
    assert restored("''") == "'"


@given(st.lists(st.lists(ODD.filter(bool), min_size=2, max_size=3), max_size=4))
def test_records_are_the_rows_that_were_written(rows: list[list[str]]) -> None:
    read = list(Records(io.StringIO(lines(rows).decode(), newline="")))
    assert [[restored(cell) for cell in record.cells] for record in read] == rows
    assert not any(record.reason for record in read)
