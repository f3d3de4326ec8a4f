"""Decisions at several destinations, each on its own book."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from app.decision.batch import ClaimedSignal, TickerBook, UnfinishedOrder
from app.decision.destinations import Decided, DestinationBooks, decide_everywhere
from app.decision.risk import RiskBook, RiskCounts, RiskRules
from app.decision.rules import ListFacts
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, Position
from app.signals.reading import Intent, Quantity
from app.signals.reasons import ReasonCode
from app.signals.statuses import DecisionResult

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 30, 15, tzinfo=UTC)
ANYTHING: Callable[[str, str], bool] = lambda _source, _ticker: True  # noqa: E731


def signal(number: int, action: str, *, is_expired: bool = False, source: str = "default") -> ClaimedSignal:
    body = json.dumps({"ticker": "AAPL", "action": action, "quantity": 5}).encode()
    kind = "buy" if action == "buy" else "sell"
    facts = ListFacts(1, 20, 5.0)
    return ClaimedSignal(UUID(int=number), number, "AAPL", kind, body, is_expired, facts, source)


def place(
    name: str,
    quantity: int | None,
    *pending: UnfinishedOrder,
    takes: Callable[[str, str], bool] = ANYTHING,
    rules: RiskRules | None = None,
    is_complete: bool = True,
) -> DestinationBooks:
    """Return a destination that holds so many shares, None: none."""
    book = Book.of(None if quantity is None else Position(Decimal(quantity)))
    books = {"AAPL": TickerBook(book, pending, is_complete)}
    return DestinationBooks(name, takes, books, RiskBook(rules or RiskRules(), NOW, RiskCounts()))


def made(decided: Decided, index: int = 0) -> dict[str, Intent]:
    return {order.destination: order.terms.intent for order in decided.orders[index]}


def test_the_same_exit_closes_at_one_and_reduces_at_the_other() -> None:
    decided = decide_everywhere([signal(1, "sell")], [place("paper", 10), place("live", 5)], BookRules())
    assert decided.decisions[0].status == DecisionResult.APPROVED
    assert made(decided) == {"paper": Intent.REDUCE, "live": Intent.CLOSE}


def test_an_exit_goes_where_something_is_open() -> None:
    decided = decide_everywhere([signal(1, "sell")], [place("a", None), place("b", 5)], BookRules())
    assert made(decided) == {"b": Intent.CLOSE}
    assert decided.decisions[0].reason.code is ReasonCode.POSITION_OPEN


@pytest.mark.parametrize("unmatched", ["reject", "forward"])
def test_an_exit_that_finds_nothing_anywhere(unmatched: str) -> None:
    rules = BookRules(unmatched_exits=unmatched)  # type: ignore[arg-type]
    decided = decide_everywhere([signal(1, "sell")], [place("a", None), place("b", None)], rules)
    assert set(made(decided)) == ({"a", "b"} if unmatched == "forward" else set())
    # where one has something, the other gets nothing
    decided = decide_everywhere([signal(1, "sell")], [place("a", None), place("b", 5)], rules)
    assert set(made(decided)) == {"b"}


def test_what_no_destination_takes_is_rejected() -> None:
    places = [place("a", 5, takes=lambda source, _: source == "x")]
    decided = decide_everywhere([signal(1, "sell"), signal(2, "sell", source="x")], places, BookRules())
    assert [each.reason.code for each in decided.decisions] == [
        ReasonCode.NO_DESTINATION,
        ReasonCode.POSITION_OPEN,
    ]
    late = decide_everywhere([signal(1, "sell", is_expired=True)], places, BookRules())
    assert late.decisions[0].status == DecisionResult.EXPIRED
    assert late.orders == [[]]


def test_an_entry_is_approved_where_the_rules_of_one_destination_allow_it() -> None:
    full = place("full", None, rules=RiskRules(max_open_positions=0))
    decided = decide_everywhere([signal(1, "buy")], [full, place("free", None)], BookRules())
    assert decided.decisions[0].status == DecisionResult.APPROVED
    assert made(decided) == {"free": Intent.OPEN}
    rejected = decide_everywhere([signal(1, "buy")], [full], BookRules())
    assert rejected.decisions[0].reason.code is ReasonCode.MAX_POSITIONS


def test_an_exit_overtakes_entries_at_its_destination_alone() -> None:
    entry = UnfinishedOrder(UUID(int=7), 7, PendingOrder(OrderTerms(Intent.OPEN, Quantity(Decimal(5)))))
    only_b: Callable[[str, str], bool] = lambda source, _: source == "b"  # noqa: E731
    places = [
        place("a", None, entry, takes=lambda source, _: source == "a"),
        place("b", None, entry, takes=only_b),
    ]
    decided = decide_everywhere([signal(9, "exit", source="b")], places, BookRules())
    assert [(each.destination, each.entries) for each in decided.overtaken] == [("b", [entry.id])]


def test_an_entry_of_the_batch_that_one_exit_overtakes_stays_at_the_other() -> None:
    """The second exit is of a source that only `a` takes."""
    places = [place("a", None), place("b", None, takes=lambda source, _: source == "default")]
    decided = decide_everywhere([signal(1, "buy"), signal(2, "exit", source="x")], places, BookRules())
    assert made(decided, 0) == {"b": Intent.OPEN}
    assert made(decided, 1) == {"a": Intent.CLOSE}
