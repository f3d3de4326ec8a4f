"""Decisions at several destinations, each on its own book."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.decision.batch import ClaimedSignal, PendingOrders, TickerBook, UnfinishedOrder
from app.decision.destinations import Decided, DestinationBooks, decide_everywhere
from app.decision.risk import RiskBook, RiskCounts, RiskRules
from app.decision.rules import ListFacts
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, Position
from app.signals.reading import Intent, Quantity
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import DecisionResult

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 30, 15, tzinfo=UTC)
ANYTHING: Callable[[str, str], bool] = lambda _source, _ticker: True  # noqa: E731


NOTHING: Callable[[str, str], bool] = lambda _source, _ticker: False  # noqa: E731


def signal(
    number: int,
    action: str,
    *,
    is_expired: bool = False,
    source: str = "default",
    quantity: int | None = None,
) -> ClaimedSignal:
    """Return an alert of AAPL; a buy and a sell are of 5 shares."""
    amount = 5 if quantity is None and action != "exit" else quantity
    alert = {"ticker": "AAPL", "action": action, **({} if amount is None else {"quantity": amount})}
    body = json.dumps(alert).encode()
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
    risk = RiskBook(rules or RiskRules(), NOW, RiskCounts())
    return DestinationBooks(name, lambda each: takes(each.source, each.ticker), books, risk)


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
    places = [place("a", None, takes=lambda source, _: source == "x")]
    decided = decide_everywhere([signal(1, "sell"), signal(2, "sell", source="x")], places, BookRules())
    assert [each.reason.code for each in decided.decisions] == [
        ReasonCode.NO_DESTINATION,
        ReasonCode.NOTHING_OPEN,
    ]
    late = decide_everywhere([signal(1, "sell", is_expired=True)], places, BookRules())
    assert late.decisions[0].status == DecisionResult.EXPIRED
    assert late.orders == [[]]


def test_an_exit_of_what_a_destination_no_longer_takes_goes_there() -> None:
    places = [place("a", None), place("b", 5, takes=NOTHING)]
    decided = decide_everywhere([signal(1, "buy"), signal(2, "exit")], places, BookRules())
    assert made(decided, 1) == {"a": Intent.CLOSE, "b": Intent.CLOSE}
    assert decided.decisions[0].reason.code is ReasonCode.OVERTAKEN


@pytest.mark.parametrize("unmatched", ["reject", "forward"])
def test_an_exit_of_a_destination_that_is_gone_waits_for_it(unmatched: str) -> None:
    rules = BookRules(unmatched_exits=unmatched)  # type: ignore[arg-type]
    gone = place("gone", 5, takes=NOTHING)._replace(is_configured=False)
    (decision,), (orders,), _ = decide_everywhere([signal(1, "exit")], [place("a", 5), gone], rules)
    assert decision.reason.code is ReasonCode.POSITION_OPEN
    assert [order.destination for order in orders] == ["a", "gone"]
    # what waits there keeps no forwarded exit from the others
    (decision,), (orders,), _ = decide_everywhere([signal(1, "exit")], [place("a", None), gone], rules)
    is_forwarded = unmatched == "forward"
    assert [order.destination for order in orders] == (["a", "gone"] if is_forwarded else ["gone"])
    assert decision.status == DecisionResult.APPROVED
    assert decision.reason == (
        Reason(ReasonCode.UNMATCHED)
        if is_forwarded
        else Reason(ReasonCode.DESTINATION_MISSING, destination="gone")
    )


def test_an_entry_is_approved_where_the_rules_of_one_destination_allow_it() -> None:
    full = place("full", None, rules=RiskRules(max_open_positions=0))
    decided = decide_everywhere([signal(1, "buy")], [full, place("free", None)], BookRules())
    assert decided.decisions[0].status == DecisionResult.APPROVED
    assert made(decided) == {"free": Intent.OPEN}
    rejected = decide_everywhere([signal(1, "buy")], [full], BookRules())
    assert rejected.decisions[0].reason.code is ReasonCode.MAX_POSITIONS


def test_an_exit_overtakes_entries_at_each_destination_that_does_not_hold_more() -> None:
    """Of 5, at `a` the pending 5 are all, at `b` 5 more stay, and `c` has its attempt open."""
    entry = UnfinishedOrder(UUID(int=7), 7, PendingOrder(OrderTerms(Intent.OPEN, Quantity(Decimal(5)))))
    sending = entry._replace(order=entry.order._replace(is_sending=True))
    places = [
        place("a", None, entry, takes=NOTHING),
        place("b", 5, entry, takes=NOTHING),
        place("c", None, sending),
        place("d", None),
    ]
    decided = decide_everywhere([signal(9, "exit", quantity=5)], places, BookRules())
    assert made(decided) == {"a": Intent.CLOSE, "b": Intent.REDUCE, "c": Intent.CLOSE}
    assert [(each.destination, each.entries) for each in decided.overtaken] == [("a", [entry.id])]


def test_a_part_of_what_an_undecided_buy_will_open_is_sold_after_it() -> None:
    undecided = UnfinishedOrder(UUID(int=7), 7, PendingOrder(OrderTerms(Intent.OPEN), is_decided=False))
    places = [place("a", 10, undecided), place("b", None, undecided)]
    decided = decide_everywhere([signal(9, "exit", quantity=5)], places, BookRules())
    assert made(decided) == {"a": Intent.REDUCE, "b": Intent.REDUCE}
    assert decided.overtaken == []


ENTRY_TERMS = st.sampled_from([OrderTerms(Intent.OPEN), OrderTerms(Intent.OPEN, Quantity(Decimal(5)))])
PENDING = st.lists(
    st.builds(PendingOrder, ENTRY_TERMS, st.booleans(), st.booleans())
    | st.builds(PendingOrder, st.sampled_from([OrderTerms(Intent.CLOSE), OrderTerms(Intent.REDUCE)])),
    max_size=3,
)
POSITIONS = st.none() | st.builds(
    lambda quantity, sure: Position(quantity, is_confirmed=sure),
    st.none() | st.sampled_from([Decimal(2), Decimal(5), Decimal(9)]),
    st.booleans(),
)


@st.composite
def anywhere(draw: st.DrawFn, name: str) -> DestinationBooks:
    """A destination with any book that takes the ticker or not, or is not configured any more."""
    unfinished = tuple(
        UnfinishedOrder(UUID(int=100 + number), number, order) for number, order in enumerate(draw(PENDING))
    )
    stored = TickerBook(Book.of(draw(POSITIONS)), unfinished, is_complete=True)
    is_configured = name == "default" or draw(st.booleans())
    is_taken = is_configured and draw(st.booleans())
    limits = draw(st.builds(RiskRules, buys_paused=st.booleans(), max_open_positions=st.none() | st.just(0)))
    return DestinationBooks(
        name,
        lambda _: is_taken,
        {"AAPL": stored},
        RiskBook(limits, NOW, RiskCounts()),
        is_configured,
    )


@given(
    st.tuples(*map(anywhere, ("default", "b", "c"))),
    st.lists(st.sampled_from(["buy", "exit", "sell"]), max_size=3),
    st.sampled_from([None, 2, 5]),
    st.builds(
        BookRules,
        st.just("forward"),
        st.sampled_from(["keep_open", "close"]),
        st.sampled_from(["reject", "forward"]),
    ),
)
def test_an_exit_leaves_to_every_destination_that_holds_something(
    places: tuple[DestinationBooks, ...], before: list[str], quantity: int | None, rules: BookRules
) -> None:
    """Open, unconfirmed or about to be open there, whatever it takes; and no entry stays behind a close."""
    batch = [signal(10 + number, action) for number, action in enumerate(before)]
    last = signal(20, "exit", quantity=quantity)
    decided = decide_everywhere([*batch, last], places, rules)
    earlier = decide_everywhere(batch, places, rules)
    orders = made(decided, len(batch))
    ended = {each.destination: set(each.entries) for each in decided.overtaken}
    for each in places:
        pending = PendingOrders(each.books["AAPL"])
        for index, one in enumerate(batch):
            pending.book_before(one.seq)
            for order in earlier.orders[index]:
                if order.destination == each.name:
                    pending.add(one, order.terms)
        if pending.book_before(last.seq).reason_to_exit is None:
            continue
        assert each.name in orders
        if orders[each.name] is Intent.CLOSE:
            stored = each.books["AAPL"].unfinished
            behind = {
                entry.id
                for entry in stored
                if entry.order.terms.intent is Intent.OPEN and not entry.order.is_sending
            }
            assert behind <= ended.get(each.name, set())
            for index, one in enumerate(batch):
                assert one.type != "buy" or each.name not in made(decided, index)
