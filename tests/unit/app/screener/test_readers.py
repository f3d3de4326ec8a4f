"""Tickers out of the markup of each epoch of the screener's pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.screener.parsing.readers import read_page
from app.screener.parsing.tickers import is_list_ticker
from app.screener.providers import BlockedError, ProviderError
from tests.unit.app.screener.pages import BLOCKED, EMPTY, ashx_row, boxover_row, page, plain_row, tickers

if TYPE_CHECKING:
    from collections.abc import Callable

# What a damaged page may contain: arbitrary text, and what the readers search for.
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
def test_a_page_with_missing_rows_is_refused(row: Callable[[int, str], str], total: int | None) -> None:
    with pytest.raises(ProviderError, match="the page r=1 has 13 of 20 rows"):
        read_page(page(row, tickers(13), total=total, pager=[21, 41]), 1)


@settings(deadline=None)
@given(
    row=st.sampled_from([ashx_row, boxover_row, plain_row]),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 400), JUNK), max_size=4),
)
@example(row=boxover_row, cuts=[(0.0, 0, f"<body>#1 / {'9' * 5_000} Total")])
def test_any_damaged_page_is_read_or_refused(
    row: Callable[[int, str], str], cuts: list[tuple[float, int, str]]
) -> None:
    html = page(row, tickers(20), total=45, pager=[21, 41])
    for place, length, junk in cuts:
        start = int(place * len(html))
        html = html[:start] + junk + html[start + length :]
    try:
        found = read_page(html, 1).tickers
    except ProviderError:
        return
    assert 1 <= len(found) == len(set(found)) <= 20
    assert all(is_list_ticker(ticker) for ticker in found)


def test_a_total_of_older_pages_is_understood() -> None:
    html = page(ashx_row, tickers(5)).replace(
        '<table class="screener', '<b>Total: </b>5 #1<table class="screener'
    )
    assert read_page(html, 1) == (tickers(5), True)
    with pytest.raises(ProviderError, match="4 of 5 rows"):
        read_page(html.replace(ashx_row(5, "AAAE"), ""), 1)


def test_the_attribute_is_read_before_the_links() -> None:
    html = page(boxover_row, ["NVDA"]).replace("stock?t=NVDA", "stock?t=OTHER")
    assert read_page(html, 1).tickers == ["NVDA"]


def test_links_in_lower_case_and_elsewhere_do_not_count() -> None:
    html = page(ashx_row, ["NVDA", "AAPL"]).replace("t=NVDA", "t=nvda")
    assert read_page(html, 1).tickers == ["NVDA", "AAPL"]  # and not the menu's SPY


@pytest.mark.parametrize(
    ("html", "phrase"),
    [
        (BLOCKED, "Just a moment"),
        ("<title>Too Many Requests</title>", "Too Many Requests"),
        ("<html><body><h1>429</h1><p>Too  many\nrequests.</p></body></html>", "Too Many Requests"),
        ("<p>You have been rate limited", "Too Many Requests"),
        ("Too Many Requests", "Too Many Requests"),
        ("<title>Attention Required! | Cloudflare</title>", "Attention Required"),
        ("<body>Please solve the CAPTCHA to go on", "Verify you are human"),
        ("<title>Access Denied</title>You don't have permission", "Access denied"),
    ],
)
def test_a_block_page_is_recognised_by_its_text(html: str, phrase: str) -> None:
    with pytest.raises(BlockedError) as refused:
        read_page(html, 1)
    assert str(refused.value) == f"the page r=1 has the words {phrase!r} instead of rows"


def test_block_words_in_a_script_or_next_to_complete_rows_are_ignored() -> None:
    script = "<script>/* too many requests, captcha */</script>"
    with pytest.raises(ProviderError) as refused:
        read_page(f"<html><body>{script}</body></html>", 1)
    assert not isinstance(refused.value, BlockedError)
    html = page(boxover_row, ["NVDA"]).replace("</body>", "Too many requests? Go Elite!</body>")
    assert read_page(html, 1).tickers == ["NVDA"]


@pytest.mark.parametrize("tags", ["<div>", "<font><b><i>", "<table><tr><td>", "<ul><li>", "<b>"])
def test_elements_nested_too_deeply_are_refused(tags: str) -> None:
    html = page(boxover_row, ["NVDA"]).replace("</body>", tags * 300 + "</body>")
    with pytest.raises(ProviderError, match="more than 256 elements inside one another"):
        read_page(html, 1)
    assert read_page(html.replace(tags * 300, tags * 60), 1).tickers == ["NVDA"]


def test_a_page_without_rows_is_not_quoted() -> None:
    with pytest.raises(ProviderError) as refused:
        read_page("<title>secret words</title><body>more of them", 1)
    assert str(refused.value) == "no tickers on the page r=1"


@pytest.mark.parametrize(
    "html", ["", "\0", "<a href='http://[x?t=A'>x</a>", "<table><tr><th>Ticker</table>", EMPTY]
)
def test_a_page_without_tickers_is_no_list(html: str) -> None:
    with pytest.raises(ProviderError, match="no tickers"):
        read_page(html, 1)
