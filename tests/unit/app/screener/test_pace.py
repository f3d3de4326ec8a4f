"""Pace of requests to the screener's site, and probation of a list that differs much."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.screener.pace import PER_MINUTE, SPACING_SECONDS, backoff_seconds, too_often, wait_seconds
from app.screener.probation import ListCandidate, difference, next_candidate


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_minute_has_more_than_59_requests_and_no_two_are_close(pauses: list[float]) -> None:
    now, sent = 0.0, list[float]()
    for pause in pauses:
        now += pause
        now += wait_seconds(sent[-PER_MINUTE:], now)
        sent.append(now)
    gaps = [after - before for before, after in pairwise(sent)]
    assert min(gaps, default=1) >= SPACING_SECONDS - 1e-6
    minutes = [sent[index + PER_MINUTE] - sent[index] for index in range(len(sent) - PER_MINUTE)]
    assert min(minutes, default=60) >= 60 - 1e-6


def test_the_back_off_doubles_up_to_its_limit() -> None:
    assert [backoff_seconds(times, None) for times in (1, 2, 3, 50)] == [30, 60, 120, 900]
    assert backoff_seconds(1, 75.0) == 75
    assert backoff_seconds(3, 75.0) == 120


@pytest.mark.parametrize(
    ("url", "top_n", "interval", "fits"),
    [
        ("https://finviz.com/screener.ashx?v=111", 15, 10, True),
        ("https://finviz.com/screener.ashx?v=111", 20, 1, False),
        ("https://finviz.com/screener.ashx?v=111", 20, 2, True),
        ("https://finviz.com/screener.ashx?v=111", 21, 2, False),
        ("https://finviz.com/screener.ashx?v=111", 500, 25, False),
        ("https://finviz.com/screener.ashx?v=111", 500, 26, True),
        ("https://elite.finviz.com/export.ashx?v=111", 500, 2, True),
        ("list:AAPL", 500, 1, True),
    ],
)
def test_a_strategy_that_exceeds_the_pace_is_refused(
    url: str, top_n: int, interval: int, *, fits: bool
) -> None:
    assert (too_often(url, top_n=top_n, depth=top_n, refresh_interval_sec=interval) is None) is fits


def test_the_refusal_names_an_interval_that_fits() -> None:
    url = "https://finviz.com/screener.ashx"
    refusal = too_often(url, top_n=500, depth=500, refresh_interval_sec=10)
    assert "set refresh_interval_sec to 26 or more" in str(refusal)


def test_pages_below_the_list_count_too() -> None:
    url = "https://finviz.com/screener.ashx"
    refusal = too_often(url, top_n=20, depth=100, refresh_interval_sec=2)
    assert str(refusal) == (
        "depth 100 is 5 pages every 2 s, and 59 requests a minute are allowed: "
        "set refresh_interval_sec to 6 or more, or a smaller depth"
    )
    assert too_often(url, top_n=20, depth=20, refresh_interval_sec=2) is None


def test_the_difference_is_the_share_that_is_not_in_common() -> None:
    assert difference("ABCDE", "EDCBA") == 0
    assert difference("ABCDE", "A") == pytest.approx(0.8)
    assert difference("A", "BCDEF") == 1
    assert difference("", "") == 0


def test_a_list_that_differs_much_is_accepted_when_three_refreshes_agree() -> None:
    before, other, third = "ABCDEFGHIJ", "AQRSTUVWXY", "klmnopqrst"
    first = next_candidate(other, before, None)
    assert first == ListCandidate(tuple(other), 1)
    second = next_candidate(other[::-1], before, first)
    assert second == ListCandidate(tuple(other[::-1]), 2)
    assert next_candidate(other, before, second) is None
    assert next_candidate(third, before, second) == ListCandidate(tuple(third), 1)


def test_a_list_that_does_not_differ_much_is_accepted_at_once() -> None:
    assert next_candidate("ABXXX", "ABCDE", None) is None
    assert next_candidate("VWXYZ", None, None) is None
