"""What an answer means and what follows, against the words of SPEC §8 and §10."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.policy import (
    LONGEST_HOLD_SECONDS,
    Outcome,
    RetryUnknown,
    hold_seconds,
    next_status,
    outcome_of,
    parse_retry_after,
    retry_delay,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SCHEDULE = (1, 2, 5, 10, 30, 60)


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.DELIVERED, (200, 201, 202, 204, 299)),
        (Outcome.REFUSED, (301, 302, 307, 308, 400, 401, 403, 404, 410, 422)),
        (Outcome.NOT_TAKEN, (408, 425, 429, 503)),
        (Outcome.UNKNOWN, (500, 502, 504, 501, 520, 524)),
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
    assert next_status(outcome, order_type, RetryUnknown()) == follows


def test_the_operator_decides_about_unknown_outcomes() -> None:
    assert next_status(Outcome.UNKNOWN, "buy", RetryUnknown(buy=True)) == "approved"
    assert next_status(Outcome.UNKNOWN, "sell", RetryUnknown(sell=False)) == "failed"


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
        (429, "999999999999", LONGEST_HOLD_SECONDS),
    ],
)
def test_who_holds_the_whole_destination(status: int, header: str | None, seconds: float | None) -> None:
    assert hold_seconds(status, header, now=NOW, delay=7.0) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert parse_retry_after("Sun, 22 Nov 2026 12:00:20 GMT", NOW) == 20
    assert parse_retry_after("Sun, 22 Nov 2026 11:00:00 GMT", NOW) == 0
    assert parse_retry_after("Sun, 22 Nov 2026 12:00:20", NOW) == 20


@given(st.text(max_size=40))
def test_no_retry_after_header_breaks_anything(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= timedelta(days=4_000_000).total_seconds()
