"""When the circuit breaker opens, and how the destination is probed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.orders.destination import (
    Allowance,
    Attempt,
    Failure,
    probe_delay,
    restrict_to_probe,
    should_open_circuit,
)
from app.signals.reasons import ReasonCode
from app.signals.statuses import Outcome

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def recent(marks: str) -> list[Attempt]:
    """Attempts, newest first: a letter for each signal; lower case failed, upper case was delivered."""
    return [
        Attempt(
            UUID(int=ord(mark.lower())),
            Outcome.DELIVERED if mark.isupper() else Outcome.NOT_TAKEN,
            200 if mark.isupper() else 503,
        )
        for mark in marks
    ]


@pytest.mark.parametrize("marks", ["abcab", "aaabc", "abcde", "aabbcD", "aaaabbbbc"])
def test_five_failures_in_a_row_over_three_signals_open_the_circuit(marks: str) -> None:
    assert should_open_circuit(recent(marks))


@pytest.mark.parametrize("marks", ["", "abcd", "aaaaaaaaaa", "ababababab", "abcdE", "abAcde", "Aabcdef"])
def test_fewer_failures_or_signals_or_a_success_among_them_do_not_open_it(marks: str) -> None:
    assert not should_open_circuit(recent(marks))


@pytest.mark.parametrize(
    ("outcome", "http_status"),
    [(Outcome.REFUSED, 400), (Outcome.REFUSED, 302), (Outcome.NOT_TAKEN, 200), (Outcome.NOT_TAKEN, 202)],
)
def test_an_answer_among_the_failures_resets_the_count(outcome: Outcome, http_status: int) -> None:
    attempts = recent("abcdef")
    attempts[4] = attempts[4]._replace(outcome=outcome, http_status=http_status)
    assert not should_open_circuit(attempts)


@pytest.mark.parametrize(
    "not_counted",
    [
        Attempt(UUID(int=1), Outcome.NOT_TAKEN, 429),
        Attempt(UUID(int=1), Outcome.NOT_TAKEN, None, ReasonCode.NOT_PREPARED.english),
        Attempt(UUID(int=1), Outcome.REFUSED, None, "the alert cannot be written as a request"),
        Attempt(UUID(int=1), Outcome.UNKNOWN, None, ReasonCode.SENDER_DIED.english),
    ],
)
def test_an_attempt_ended_by_the_application_neither_counts_nor_resets(not_counted: Attempt) -> None:
    assert not should_open_circuit([*recent("ab"), *[not_counted] * 9, *recent("ca")])
    assert should_open_circuit([*recent("ab"), *[not_counted] * 9, *recent("cab")])


@pytest.mark.parametrize(
    ("outcome", "http_status", "error", "failure", "answer"),
    [
        (Outcome.NOT_TAKEN, 503, None, True, False),
        (Outcome.NOT_TAKEN, 408, None, True, False),
        (Outcome.NOT_TAKEN, None, "no connection after 3 s", True, False),
        (Outcome.UNKNOWN, 500, None, True, False),
        (Outcome.UNKNOWN, None, "timed out after 3 s", True, False),
        (Outcome.NOT_TAKEN, 429, None, False, False),
        (Outcome.NOT_TAKEN, 200, 'HTTP 200 with "success": false', False, True),
        (Outcome.NOT_TAKEN, 299, None, False, True),
        (Outcome.REFUSED, 400, None, False, True),
        (Outcome.REFUSED, 302, None, False, True),
        (Outcome.REFUSED, None, "the alert cannot be written as a request", False, False),
        (Outcome.NOT_TAKEN, None, ReasonCode.NOT_PREPARED.english, False, False),
        (Outcome.NOT_TAKEN, None, ReasonCode.GIVEN_BACK.english, False, False),
        (Outcome.UNKNOWN, None, ReasonCode.SENDER_DIED.english, False, False),
        (Outcome.DELIVERED, 200, None, False, True),
    ],
)
def test_which_attempts_are_failures_and_which_are_answers(
    outcome: Outcome, http_status: int | None, error: str | None, *, failure: bool, answer: bool
) -> None:
    attempt = Attempt(UUID(int=1), outcome, http_status, error)
    assert (attempt.is_failure, attempt.is_answer) == (failure, answer)


def test_the_probe_delay_grows_to_its_maximum() -> None:
    assert [probe_delay(probes) for probes in range(7)] == [5, 10, 20, 40, 60, 60, 60]


def test_the_signal_of_a_failed_probe_is_retried_after_the_next_probe() -> None:
    assert Failure(20.0, was_probe=True).delay(2.0) == 30.0
    assert Failure(20.0, was_probe=True).delay(60.0) == 60.0
    assert Failure(5.0).delay(2.0) == 2.0
    assert Failure().delay(2.0) == 2.0


@pytest.mark.parametrize(
    ("open_attempts", "seconds", "tokens", "wait"),
    [(0, 4.0, 0, 4.0), (0, 0.0, 1, 0.0), (0, -9.0, 1, 0.0), (1, -9.0, 0, 0.25), (1, 4.0, 0, 4.0)],
)
def test_one_probe_at_a_time_and_not_before_its_time(
    open_attempts: int, seconds: float, tokens: int, wait: float
) -> None:
    free = Allowance(30, (30, 40), 0.0)
    probe_at = NOW + timedelta(seconds=seconds)
    cut = restrict_to_probe(free, open_attempts=open_attempts, probe_at=probe_at, now=NOW)
    assert (cut.tokens, cut.wait_seconds, cut.by_window) == (tokens, wait, (30, 40))


def test_a_closed_circuit_does_not_restrict_and_rate_limits_apply_to_probes() -> None:
    free = Allowance(30, (30, 40), 0.0)
    assert restrict_to_probe(free, open_attempts=9, probe_at=None, now=NOW) == free
    none = Allowance(0, (0, 40), 7.0)
    assert restrict_to_probe(none, open_attempts=0, probe_at=NOW, now=NOW) == none
