"""The rule that decides signals, by example. What an alert means for a position: `signals/test_book.py`."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.decision.rules import ListFacts, decide
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, Position
from app.signals.reading import Intent, Quantity, Reading
from app.signals.reasons import Reason, ReasonCode, stored_remarks

LISTED, NOT_LISTED = ListFacts(3, 15, 4.26), ListFacts(None, 15, 4.26)
NO_LIST = ListFacts(None, None, None)
BUY, ADD, SELL = Reading(Intent.OPEN), Reading(Intent.ADD), Reading(Intent.CLOSE)
NOTHING, OPEN = Book.of(), Book.of(Position(Decimal(10)))
BUYING = Book.of(pending=(PendingOrder(OrderTerms(Intent.OPEN)),))
RULES = BookRules()


def test_a_buy_in_the_list_is_approved_with_rank_size_and_age() -> None:
    reading = Reading(Intent.OPEN, quantity=Quantity(Decimal(5)))
    decision = decide("buy", reading, NOTHING, LISTED, RULES, is_expired=False)
    assert (decision.status, str(decision.reason)) == ("approved", "rank 3 of 15")
    assert decision.detail == {"rank": 3, "list_size": 15, "list_age_seconds": 4.3, "intent": "open"}
    assert decision.terms == OrderTerms(Intent.OPEN, Quantity(Decimal(5)))


@pytest.mark.parametrize("reading", [BUY, ADD])
@pytest.mark.parametrize("book", [NOTHING, OPEN])
def test_an_entry_outside_the_list_is_rejected_with_the_facts_of_the_list(
    reading: Reading, book: Book
) -> None:
    decision = decide("buy", reading, book, NOT_LISTED, RULES, is_expired=False)
    assert (decision.status, decision.reason.code) == ("rejected", ReasonCode.NOT_LISTED)
    assert decision.detail == {"rank": None, "list_size": 15, "list_age_seconds": 4.3}
    assert decision.terms is None


@pytest.mark.parametrize(
    ("book", "why"), [(OPEN, ReasonCode.POSITION_OPEN), (BUYING, ReasonCode.BUY_PENDING)]
)
def test_duplicate_buys_go_on_or_not_as_configured(book: Book, why: ReasonCode) -> None:
    sent = decide("buy", BUY, book, LISTED, RULES, is_expired=False)
    assert (sent.status, sent.detail["intent"]) == ("approved", "open")
    assert [remark.code for remark in stored_remarks(sent.detail)] == [ReasonCode.REMARK_DUPLICATE]
    added = decide("buy", BUY, book, LISTED, RULES._replace(duplicate_buys="add"), is_expired=False)
    assert (added.status, added.detail["intent"]) == ("approved", "add")
    rejected = decide("buy", BUY, book, LISTED, RULES._replace(duplicate_buys="reject"), is_expired=False)
    assert rejected.status == "rejected"
    assert rejected.reason == Reason(ReasonCode.DUPLICATE_BUY, reason=Reason(why))


@pytest.mark.parametrize("facts", [LISTED, NOT_LISTED, NO_LIST])
@pytest.mark.parametrize(
    ("signal_type", "book", "status", "reason"),
    [
        ("sell", OPEN, "approved", ReasonCode.POSITION_OPEN),
        ("sell", BUYING, "approved", ReasonCode.ITS_BUY_PENDING),
        ("sell", NOTHING, "rejected", ReasonCode.NOTHING_OPEN),
    ],
)
def test_an_exit_needs_something_to_close_and_no_list(
    signal_type: str, book: Book, facts: ListFacts, status: str, reason: ReasonCode
) -> None:
    decision = decide(signal_type, SELL, book, facts, RULES, is_expired=False)
    assert (decision.status, decision.reason.code) == (status, reason)


@pytest.mark.parametrize(("signal_type", "reading"), [("buy", BUY), ("sell", SELL)])
def test_age_comes_before_everything(signal_type: str, reading: Reading) -> None:
    assert decide(signal_type, reading, OPEN, LISTED, RULES, is_expired=True).status == "expired"
