"""The retry policy: what an answer means and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.orders.policy import (
    LONGEST_HOLD_BY_CLOCK_SECONDS,
    LONGEST_HOLD_SECONDS,
    hold_seconds,
    next_status,
    outcome_of,
    retry_delay,
)
from app.signals.statuses import Outcome, RetryUnknown

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
RETRY_SELLS = RetryUnknown(buy=False, sell=True)
SCHEDULE = (1, 2, 5, 10, 30, 60)


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.DELIVERED, (200, 201, 202, 204, 299)),
        (Outcome.REFUSED, (301, 302, 307, 308, 400, 401, 403, 404, 410, 422)),
        (Outcome.NOT_TAKEN, (408, 425, 429, 503)),
        (Outcome.UNKNOWN, (500, 502, 504, 501, 520, 524, 0, 99, 101, 199, 600, 999)),
    ],
)
def test_statuses_fall_into_their_class(outcome: Outcome, statuses: tuple[int, ...]) -> None:
    assert {outcome_of(status) for status in statuses} == {outcome}


@pytest.mark.parametrize(
    ("outcome", "order_type", "follows"),
    [
        (Outcome.DELIVERED, "buy", "forwarded"),
        (Outcome.REFUSED, "sell", "failed"),
        (Outcome.NOT_TAKEN, "buy", "approved"),
        (Outcome.UNKNOWN, "buy", "failed"),
        (Outcome.UNKNOWN, "sell", "approved"),
        (Outcome.UNKNOWN, "manual_sell", "approved"),
    ],
)
def test_the_table_out_of_forwarding(outcome: Outcome, order_type: str, follows: str) -> None:
    assert next_status(outcome, order_type, RETRY_SELLS) == follows


def test_the_operator_decides_about_unknown_outcomes() -> None:
    assert next_status(Outcome.UNKNOWN, "buy", RetryUnknown(buy=True, sell=True)) == "approved"
    assert next_status(Outcome.UNKNOWN, "sell", RetryUnknown(buy=False, sell=False)) == "failed"


def test_retries_follow_the_schedule_and_stay_at_its_end() -> None:
    delays = [retry_delay(number, SCHEDULE, 0.5) for number in range(1, 9)]
    assert delays == [1, 2, 5, 10, 30, 60, 60, 60]


@given(number=st.integers(1, 50), chance=st.floats(0, 1))
def test_retries_are_spread_by_a_fifth_at_the_most(number: int, chance: float) -> None:
    step = SCHEDULE[min(number, len(SCHEDULE)) - 1]
    assert 0.799 * step <= retry_delay(number, SCHEDULE, chance) <= 1.201 * step


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, None, 7.0),
        (429, "30", 30.0),
        (429, "not a time", 7.0),
        (503, "12", 12.0),
        (503, None, None),
        (500, "3", 3.0),
        (200, "30", None),
        (429, "99999", LONGEST_HOLD_SECONDS),
        (429, "999999999", LONGEST_HOLD_SECONDS),
        (429, "999999999999", 7.0),  # a Unix time of the year 33658
        (503, "1 Jan 99999999999999999999 00:00:00", None),
        (503, "Fri, 31 Dec 9999 23:59:59 GMT", None),
        (429, "4.5", 4.5),
        (429, str(int(NOW.timestamp()) + 30), 30.0),
        (429, "Sun, 22 Nov 2026 12:00:05 GMT", 5.0),
        (429, "Sun, 22 Nov 2026 12:50:00 GMT", LONGEST_HOLD_BY_CLOCK_SECONDS),
    ],
)
def test_which_answers_hold_the_whole_destination(
    status: int, header: str | None, seconds: float | None
) -> None:
    assert hold_seconds(status, header, now=NOW, delay=7.0) == seconds


def test_a_date_is_measured_by_the_destination_s_own_clock() -> None:
    ahead = NOW + timedelta(hours=5)
    asked = "Sun, 22 Nov 2026 17:00:05 GMT"
    own = ahead.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert hold_seconds(429, asked, now=NOW, delay=7.0, answered_at=own) == 5.0
    # without that clock the hold is short all the same: exits wait, too
    assert hold_seconds(429, asked, now=NOW, delay=7.0) == LONGEST_HOLD_BY_CLOCK_SECONDS


def test_an_answer_with_success_false_is_not_accepted() -> None:
    assert outcome_of(200, says_failure=True) is Outcome.NOT_TAKEN
    assert outcome_of(422, says_failure=True) is Outcome.REFUSED
    assert next_status(Outcome.NOT_TAKEN, "sell", RETRY_SELLS) == "approved"
