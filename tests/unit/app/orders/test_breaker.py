"""When a destination is left alone, and how it is tried again (SPEC §10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.orders.breaker import (
    GIVEN_BACK,
    NOT_PREPARED,
    SENDER_DIED,
    Attempt,
    Failure,
    keeps_failing,
    pause_seconds,
    probe_allowance,
)
from app.orders.limiter import Allowance
from app.signals.statuses import Outcome

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def recent(story: str) -> list[Attempt]:
    """Attempts, newest first: a letter for the signal; small ones failed, capital ones were delivered."""
    return [
        Attempt(
            UUID(int=ord(mark.lower())),
            Outcome.DELIVERED if mark.isupper() else Outcome.NOT_TAKEN,
            200 if mark.isupper() else 503,
        )
        for mark in story
    ]


@pytest.mark.parametrize("story", ["abcab", "aaabc", "abcde", "aabbcD", "aaaabbbbc"])
def test_five_failures_in_a_row_over_three_signals_hold_it(story: str) -> None:
    assert keeps_failing(recent(story))


@pytest.mark.parametrize("story", ["", "abcd", "aaaaaaaaaa", "ababababab", "abcdE", "abAcde", "Aabcdef"])
def test_fewer_failures_or_signals_or_a_success_among_them_do_not(story: str) -> None:
    assert not keeps_failing(recent(story))


@pytest.mark.parametrize(
    ("outcome", "http_status"),
    [(Outcome.REFUSED, 400), (Outcome.REFUSED, 302), (Outcome.NOT_TAKEN, 200), (Outcome.NOT_TAKEN, 202)],
)
def test_an_answer_among_them_shows_that_it_works(outcome: Outcome, http_status: int) -> None:
    attempts = recent("abcdef")
    attempts[4] = attempts[4]._replace(outcome=outcome, http_status=http_status)
    assert not keeps_failing(attempts)


@pytest.mark.parametrize(
    "says_nothing",
    [
        Attempt(UUID(int=1), Outcome.NOT_TAKEN, 429),
        Attempt(UUID(int=1), Outcome.NOT_TAKEN, None, NOT_PREPARED),
        Attempt(UUID(int=1), Outcome.REFUSED, None, "its body cannot be made into a delivery"),
        Attempt(UUID(int=1), Outcome.UNKNOWN, None, SENDER_DIED),
    ],
)
def test_what_says_nothing_of_the_destination_neither_counts_nor_clears(says_nothing: Attempt) -> None:
    assert not keeps_failing([*recent("ab"), *[says_nothing] * 9, *recent("ca")])
    assert keeps_failing([*recent("ab"), *[says_nothing] * 9, *recent("cab")])


@pytest.mark.parametrize(
    ("outcome", "http_status", "error", "failure", "answer"),
    [
        (Outcome.NOT_TAKEN, 503, None, True, False),
        (Outcome.NOT_TAKEN, 408, None, True, False),
        (Outcome.NOT_TAKEN, None, "no connection in 3 s", True, False),
        (Outcome.UNKNOWN, 500, None, True, False),
        (Outcome.UNKNOWN, None, "no answer in 3 s", True, False),
        (Outcome.NOT_TAKEN, 429, None, False, False),
        (Outcome.NOT_TAKEN, 200, 'HTTP 200 with "success": false', False, True),
        (Outcome.NOT_TAKEN, 299, None, False, True),
        (Outcome.REFUSED, 400, None, False, True),
        (Outcome.REFUSED, 302, None, False, True),
        (Outcome.REFUSED, None, "its body cannot be made into a delivery", False, False),
        (Outcome.NOT_TAKEN, None, NOT_PREPARED, False, False),
        (Outcome.NOT_TAKEN, None, GIVEN_BACK, False, False),
        (Outcome.UNKNOWN, None, SENDER_DIED, False, False),
        (Outcome.DELIVERED, 200, None, False, True),
    ],
)
def test_what_is_a_failure_and_what_an_answer(
    outcome: Outcome, http_status: int | None, error: str | None, *, failure: bool, answer: bool
) -> None:
    attempt = Attempt(UUID(int=1), outcome, http_status, error)
    assert (attempt.is_failure, attempt.is_answer) == (failure, answer)


def test_the_pauses_grow_and_stay() -> None:
    assert [pause_seconds(probes) for probes in range(7)] == [5, 10, 20, 40, 60, 60, 60]


def test_the_signal_of_a_failed_probe_lets_others_go_first() -> None:
    assert Failure(20.0, was_probe=True).delay(2.0) == 30.0
    assert Failure(20.0, was_probe=True).delay(60.0) == 60.0
    assert Failure(5.0).delay(2.0) == 2.0
    assert Failure().delay(2.0) == 2.0


@pytest.mark.parametrize(
    ("open_attempts", "seconds", "tokens", "wait"),
    [(0, 4.0, 0, 4.0), (0, 0.0, 1, 0.0), (0, -9.0, 1, 0.0), (1, -9.0, 0, 0.25), (1, 4.0, 0, 4.0)],
)
def test_one_probe_at_a_time_and_not_before_its_moment(
    open_attempts: int, seconds: float, tokens: int, wait: float
) -> None:
    free = Allowance(30, (30, 40), 0.0)
    probe_at = NOW + timedelta(seconds=seconds)
    cut = probe_allowance(free, open_attempts=open_attempts, probe_at=probe_at, now=NOW)
    assert (cut.tokens, cut.wait_seconds, cut.by_window) == (tokens, wait, (30, 40))


def test_a_destination_that_works_is_not_cut_and_limits_hold_for_probes() -> None:
    free = Allowance(30, (30, 40), 0.0)
    assert probe_allowance(free, open_attempts=9, probe_at=None, now=NOW) == free
    none = Allowance(0, (0, 40), 7.0)
    assert probe_allowance(none, open_attempts=0, probe_at=NOW, now=NOW) == none
