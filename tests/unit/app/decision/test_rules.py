"""The rule that decides signals, by example."""

from __future__ import annotations

import pytest

from app.decision.rules import TickerFacts, decide
from app.signals.reasons import Reason, ReasonCode

IN_LIST = TickerFacts(is_open=False, has_pending_buy=False, rank=3, list_size=15, list_age_seconds=4.26)
NOT_IN_LIST = TickerFacts(
    is_open=False, has_pending_buy=False, rank=None, list_size=15, list_age_seconds=4.26
)
OPEN = TickerFacts(is_open=True, has_pending_buy=False, rank=None, list_size=15, list_age_seconds=4.26)
BUY_PENDING = TickerFacts(
    is_open=False, has_pending_buy=True, rank=None, list_size=None, list_age_seconds=None
)


def test_a_buy_in_the_list_is_approved_and_says_rank_size_and_age() -> None:
    decision = decide("buy", IN_LIST, is_expired=False)
    assert (decision.status, str(decision.reason)) == ("approved", "rank 3 of 15")
    assert decision.detail == {"rank": 3, "list_size": 15, "list_age_seconds": 4.3}


def test_a_buy_outside_the_list_is_rejected_with_the_facts_of_the_list() -> None:
    decision = decide("buy", NOT_IN_LIST, is_expired=False)
    assert (decision.status, str(decision.reason)) == ("rejected", "not in the Top-15")
    assert decision.detail == {"rank": None, "list_size": 15, "list_age_seconds": 4.3}


@pytest.mark.parametrize(("is_open", "has_pending_buy"), [(True, False), (False, True), (True, True)])
def test_duplicate_buys_go_on_or_not_as_configured(is_open: bool, has_pending_buy: bool) -> None:  # noqa: FBT001
    facts = TickerFacts(
        is_open=is_open, has_pending_buy=has_pending_buy, rank=1, list_size=2, list_age_seconds=0
    )
    assert decide("buy", facts, is_expired=False, duplicate_buys="forward").status == "approved"
    rejected = decide("buy", facts, is_expired=False, duplicate_buys="reject")
    assert rejected.status == "rejected"
    why = Reason(ReasonCode.POSITION_OPEN if is_open else ReasonCode.BUY_PENDING)
    assert rejected.reason == Reason(ReasonCode.DUPLICATE_BUY, reason=why)


@pytest.mark.parametrize(("is_open", "has_pending_buy"), [(False, False), (True, False), (False, True)])
def test_an_add_needs_a_position_and_is_no_duplicate(is_open: bool, has_pending_buy: bool) -> None:  # noqa: FBT001
    facts = TickerFacts(
        is_open=is_open, has_pending_buy=has_pending_buy, rank=1, list_size=2, list_age_seconds=0
    )
    decision = decide("buy", facts, is_expired=False, intent="add", duplicate_buys="reject")
    if is_open or has_pending_buy:
        assert decision.status == "approved"
    else:
        assert (decision.status, str(decision.reason)) == (
            "rejected",
            "no open position to add to",
        )


@pytest.mark.parametrize(
    ("signal_type", "facts", "status", "reason"),
    [
        ("sell", OPEN, "approved", "a position is open"),
        ("sell", BUY_PENDING, "approved", "its buy is pending"),
        ("sell", IN_LIST, "rejected", "no position is open and no buy is pending"),
        ("position_close", NOT_IN_LIST, "rejected", "no position is open and no buy is pending"),
        ("sell_all", OPEN, "approved", "a position is open"),
        ("manual_sell", NOT_IN_LIST, "approved", "manual order"),
    ],
)
def test_a_sell_needs_something_to_close(
    signal_type: str, facts: TickerFacts, status: str, reason: str
) -> None:
    decision = decide(signal_type, facts, is_expired=False)
    assert (decision.status, str(decision.reason)) == (status, reason)


@pytest.mark.parametrize("signal_type", ["buy", "sell"])
def test_age_comes_before_everything(signal_type: str) -> None:
    facts = TickerFacts(is_open=True, has_pending_buy=True, rank=1, list_size=1, list_age_seconds=0)
    assert decide(signal_type, facts, is_expired=True).status == "expired"
