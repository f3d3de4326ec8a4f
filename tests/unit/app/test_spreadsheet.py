"""No cell of an export is a formula, and every cell comes back as it was (SPEC §14)."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ops.spreadsheet import lines, neutral, restored


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1.5", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1"])
def test_a_formula_becomes_text(text: str) -> None:
    assert neutral(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "AAPL", "1.5", "it's", "'quoted'", "{}"])
def test_the_rest_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n\"a,; é"), max_size=8))
def test_every_text_survives_the_way_out_and_back(text: str) -> None:
    cell = neutral(text)
    assert restored(cell) == text
    assert cell[:1] not in {"=", "+", "-", "@", "\t", "\r", "\n"}
    ((read, empty),) = csv.reader(io.StringIO(lines([[text, None]]).decode(), newline=""))
    assert (restored(read), empty) == (text, "")
