"""Tickers out of the markup of each epoch of the screener's pages (SPEC §12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.screener.sources import SourceError
from app.screener.sources.finviz import read_export
from app.screener.sources.readers import read_page
from app.screener.sources.tickers import is_ticker
from tests.unit.app.screener_pages import BLOCKED, EMPTY, ashx_row, boxover_row, page, plain_row, tickers

if TYPE_CHECKING:
    from collections.abc import Callable

# What may stand where a page was spoiled: anything, and what the readers look for.
JUNK = st.text(max_size=40) | st.sampled_from(
    [
        "</table>",
        "<tr><th>Ticker</th></tr>",
        f"#1 / {'9' * 5_000} Total",
        '<a href="http://[/?t=X&r=9">',
        '<a href="?r=²">',
    ]
)
EPOCHS = pytest.mark.parametrize("row", [ashx_row, boxover_row, plain_row])


@EPOCHS
def test_every_epoch_gives_the_tickers_in_rank_order(row: Callable[[int, str], str]) -> None:
    names = ["NVDA", "BRK.B", "A", "BF-B", *tickers(16)]
    assert read_page(page(row, names, total=120, pager=[21, 41]), 1) == (names, False)


@EPOCHS
def test_the_last_page_is_known_by_the_total(row: Callable[[int, str], str]) -> None:
    names = tickers(7)
    assert read_page(page(row, names, first=41, total=47, pager=[1, 21]), 41) == (names, True)


@EPOCHS
def test_a_page_without_pager_and_total_is_all_there_is(row: Callable[[int, str], str]) -> None:
    assert read_page(page(row, ["NVDA", "AAPL"]), 1) == (["NVDA", "AAPL"], True)


@EPOCHS
@pytest.mark.parametrize("total", [55, None])
def test_a_page_that_lacks_rows_is_no_page(row: Callable[[int, str], str], total: int | None) -> None:
    with pytest.raises(SourceError, match="the page r=1 has 13 of 20 rows"):
        read_page(page(row, tickers(13), total=total, pager=[21, 41]), 1)


@settings(deadline=None)
@given(
    row=st.sampled_from([ashx_row, boxover_row, plain_row]),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 400), JUNK), max_size=4),
)
@example(row=boxover_row, cuts=[(0.0, 0, f"<body>#1 / {'9' * 5_000} Total")])
def test_whatever_a_page_has_become_it_is_read_or_refused(
    row: Callable[[int, str], str], cuts: list[tuple[float, int, str]]
) -> None:
    html = page(row, tickers(20), total=45, pager=[21, 41])
    for place, length, junk in cuts:
        start = int(place * len(html))
        html = html[:start] + junk + html[start + length :]
    try:
        found = read_page(html, 1).tickers
    except SourceError:
        return
    assert 1 <= len(found) == len(set(found)) <= 20
    assert all(is_ticker(ticker) for ticker in found)


def test_a_total_of_older_pages_is_understood() -> None:
    html = page(ashx_row, tickers(5)).replace(
        '<table class="screener', '<b>Total: </b>5 #1<table class="screener'
    )
    assert read_page(html, 1) == (tickers(5), True)
    with pytest.raises(SourceError, match="4 of 5 rows"):
        read_page(html.replace(ashx_row(5, "AAAE"), ""), 1)


def test_the_attribute_is_asked_before_the_links() -> None:
    html = page(boxover_row, ["NVDA"]).replace("stock?t=NVDA", "stock?t=OTHER")
    assert read_page(html, 1).tickers == ["NVDA"]


def test_links_in_lower_case_and_elsewhere_do_not_count() -> None:
    html = page(ashx_row, ["NVDA", "AAPL"]).replace("t=NVDA", "t=nvda")
    assert read_page(html, 1).tickers == ["NVDA", "AAPL"]  # and not the menu's SPY


def test_a_block_page_says_its_title() -> None:
    with pytest.raises(SourceError, match=r"no tickers on the page r=1 \(its title is 'Just a moment...'\)"):
        read_page(BLOCKED, 1)


@pytest.mark.parametrize(
    "html", ["", "\0", "<a href='http://[x?t=A'>x</a>", "<table><tr><th>Ticker</table>", EMPTY]
)
def test_a_page_without_tickers_is_no_list(html: str) -> None:
    with pytest.raises(SourceError, match="no tickers"):
        read_page(html, 1)


def test_an_export_is_read_by_its_column() -> None:
    text = 'No.,Ticker,Company\r\n1,NVDA,"NVIDIA, Corp"\r\n2,AAPL,Apple\r\n'
    assert read_export(text) == ["NVDA", "AAPL"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column Ticker"),
        ("<html><title>Login</title></html>", "FINVIZ_ELITE_AUTH"),
        ("No.,Ticker,Company\r\n", "no tickers"),
        ("No.,Ticker,Company\r\n1,NVDA,N\r\n2,AA", "breaks off"),
        ("No.,Ticker,Company\r\n1,<b>,N\r\n", "no ticker"),
    ],
)
def test_an_export_that_is_none_says_why(text: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        read_export(text)
