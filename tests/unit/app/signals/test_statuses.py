"""The words of the domain are those of the API and of the dead letters, which spell them out."""

from __future__ import annotations

from typing import get_args

from app.admin import schemas
from app.orders.dead_letters_repository import DeadStatus
from app.signals.statuses import DecisionResult, Outcome, SignalType, Status


def test_the_api_has_every_word_in_the_same_order() -> None:
    assert get_args(schemas.Status) == tuple(Status)
    assert get_args(schemas.SignalType) == tuple(SignalType)
    assert get_args(schemas.Outcome) == tuple(Outcome)


def test_a_decision_and_a_dead_letter_have_a_status() -> None:
    assert {*DecisionResult, *get_args(DeadStatus)} < set(Status)


def test_a_word_is_written_as_its_value() -> None:
    assert f"{Status.APPROVED} {Outcome.NOT_TAKEN}" == "approved not_taken"
