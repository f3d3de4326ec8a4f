"""No sliding window at the destination holds more requests than its limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.orders.destination import Allowance, Usage, Window, compute_allowance

START = datetime(2026, 11, 22, tzinfo=UTC)
WINDOWS = (Window(4, 60), Window(9, 300))


def allowance(
    windows: tuple[Window, ...], *, open_attempts: int, ended: list[datetime], now: datetime
) -> Allowance:
    """Count as the database does; `ended` newest first."""
    usage = []
    for window in windows:
        counting = [end for end in reversed(ended) if end > now - timedelta(seconds=window.seconds)]
        excess = len(counting) + open_attempts - window.limit
        leaves = counting[excess] if 0 <= excess < len(counting) else None
        usage.append(Usage(len(counting), leaves + timedelta(seconds=window.seconds) if leaves else None))
    return compute_allowance(windows, usage, open_attempts=open_attempts, now=now)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_fresh_destination_has_every_token() -> None:
    free = allowance(WINDOWS, open_attempts=0, ended=[], now=START)
    assert (free.tokens, free.by_window, free.wait_seconds) == (4, (4, 9), 0)


def test_open_attempts_count_and_without_a_token_the_wait_is_short() -> None:
    assert allowance(WINDOWS, open_attempts=3, ended=[], now=START).tokens == 1
    free = allowance(WINDOWS, open_attempts=4, ended=[], now=START)
    assert free.tokens == 0
    assert 0 < free.wait_seconds < 1


def test_a_token_returns_one_window_after_the_end_of_its_attempt() -> None:
    ended = [at(40), at(30), at(20), at(10)]
    free = allowance(WINDOWS, open_attempts=0, ended=ended, now=at(50))
    assert (free.tokens, free.wait_seconds) == (0, 20)
    assert allowance(WINDOWS, open_attempts=0, ended=ended, now=at(70)).tokens == 1


def test_the_longer_window_limits_when_the_shorter_is_free() -> None:
    ended = [at(10 * number) for number in range(8, -1, -1)]
    free = allowance(WINDOWS, open_attempts=0, ended=ended, now=at(200))
    assert (free.by_window, free.tokens, free.wait_seconds) == ((4, 0), 0, 100)


@pytest.mark.parametrize(
    ("limit", "reserve", "for_entries"),
    [(60, 5, 55), (500, 50, 450), (60, 0, 60), (60, 30, 30), (60, 31, 30), (9, 50, 5), (2, 5, 1), (1, 5, 1)],
)
def test_at_most_half_of_a_limit_is_reserved(limit: int, reserve: int, for_entries: int) -> None:
    assert Window(limit, 60, reserve).for_entries == Window(for_entries, 60)


# What senders do, in milliseconds: request so many tokens after a pause; each request arrives so long after
# and ends so long after it arrived.
ATTEMPTS = st.tuples(
    *(st.integers(0, 90_000), st.integers(1, 4), st.integers(0, 50_000), st.integers(0, 20_000)),
    st.booleans(),  # whether they are entries
)
RESERVING = (Window(4, 60, 1), Window(9, 300, 3))


@settings(max_examples=300, deadline=None)
@given(st.lists(ATTEMPTS, max_size=40))
def test_no_sliding_window_ever_holds_more_than_its_limit(
    asked: list[tuple[int, int, int, int, bool]],
) -> None:
    now, attempts = 0, list[tuple[int, int]]()  # each attempt: its arrival, its end
    for pause, wanted, until_arrival, until_end, are_entries in asked:
        now += pause
        ends = sorted((at(end / 1000) for _, end in attempts if end <= now), reverse=True)
        still_open = sum(end > now for _, end in attempts)
        windows = tuple(window.for_entries for window in RESERVING) if are_entries else RESERVING
        free = allowance(windows, open_attempts=still_open, ended=ends, now=at(now / 1000))
        arrival = now + until_arrival
        started = min(wanted, free.tokens)
        attempts += [(arrival, arrival + until_end)] * started
        if are_entries and started:
            for window in RESERVING:
                counting = [end for _, end in attempts if end > now - 1000 * window.seconds]
                assert len(counting) <= window.limit - window.reserve
        if not free.tokens:
            now += round(free.wait_seconds * 1000)
    arrivals = sorted(arrival for arrival, _ in attempts)
    for window in WINDOWS:
        for last in arrivals:
            within = sum(last - 1000 * window.seconds < arrival <= last for arrival in arrivals)
            assert within <= window.limit


@given(st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_the_wait_is_as_long_as_needed_and_no_longer(ages: list[int]) -> None:
    ended = sorted((at(-age) for age in ages), reverse=True)
    free = allowance(WINDOWS, open_attempts=0, ended=ended, now=START)
    if free.tokens:
        assert free.wait_seconds == 0
        return
    after = START + timedelta(seconds=free.wait_seconds)
    assert allowance(WINDOWS, open_attempts=0, ended=ended, now=after).tokens >= 1
    before = after - timedelta(milliseconds=1)
    assert allowance(WINDOWS, open_attempts=0, ended=ended, now=before).tokens == 0
