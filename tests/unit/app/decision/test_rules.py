"""The rule of SPEC §9, by example."""

from __future__ import annotations

import pytest

from app.decision.rules import TickerFacts, decide

IN_LIST = TickerFacts(is_open=False, opening=False, rank=3, size=15, age_seconds=4.26)
NOWHERE = TickerFacts(is_open=False, opening=False, rank=None, size=15, age_seconds=4.26)
OPEN = TickerFacts(is_open=True, opening=False, rank=None, size=15, age_seconds=4.26)
OPENING = TickerFacts(is_open=False, opening=True, rank=None, size=None, age_seconds=None)


def test_a_buy_in_the_list_is_approved_and_says_rank_size_and_age() -> None:
    decision = decide("buy", IN_LIST, overdue=False)
    assert (decision.status, decision.reason) == ("approved", "rank 3 of 15")
    assert decision.detail == {"rank": 3, "list_size": 15, "list_age_seconds": 4.3}


def test_a_buy_outside_the_list_is_rejected_with_the_list_it_was_held_against() -> None:
    decision = decide("buy", NOWHERE, overdue=False)
    assert (decision.status, decision.reason) == ("rejected", "not in the Top-15")
    assert decision.detail == {"rank": None, "list_size": 15, "list_age_seconds": 4.3}


@pytest.mark.parametrize(("is_open", "opening"), [(True, False), (False, True), (True, True)])
def test_duplicate_buys_go_on_or_not_as_configured(is_open: bool, opening: bool) -> None:  # noqa: FBT001
    facts = TickerFacts(is_open=is_open, opening=opening, rank=1, size=2, age_seconds=0)
    assert decide("buy", facts, overdue=False, duplicate_buys="forward").status == "approved"
    rejected = decide("buy", facts, overdue=False, duplicate_buys="reject")
    assert rejected.status == "rejected"
    assert "duplicate buys" in rejected.reason


@pytest.mark.parametrize(
    ("order_type", "facts", "status", "reason"),
    [
        ("sell", OPEN, "approved", "a position is open"),
        ("sell", OPENING, "approved", "its buy is on its way"),
        ("sell", IN_LIST, "rejected", "no position is open and no buy is on its way"),
        ("position_close", NOWHERE, "rejected", "no position is open and no buy is on its way"),
        ("sell_all", OPEN, "approved", "a position is open"),
        ("manual_sell", NOWHERE, "approved", "ordered by a person"),
    ],
)
def test_a_sell_needs_something_to_close(
    order_type: str, facts: TickerFacts, status: str, reason: str
) -> None:
    decision = decide(order_type, facts, overdue=False)
    assert (decision.status, decision.reason) == (status, reason)


@pytest.mark.parametrize("order_type", ["buy", "sell"])
def test_age_comes_before_everything(order_type: str) -> None:
    facts = TickerFacts(is_open=True, opening=True, rank=1, size=1, age_seconds=0)
    assert decide(order_type, facts, overdue=True).status == "expired"
