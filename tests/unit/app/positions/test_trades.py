"""A trade is what its orders did to the book: quantities and results that hold, or None."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.positions.trades import (
    DISMISSED,
    MARKED,
    BookedOrder,
    ClosedPosition,
    Ending,
    Trade,
    make_trade,
)
from app.positions.trades_repository import TradeCursor
from app.signals.book import OrderTerms, Position, apply, realized_by_close
from app.signals.reading import ENTRIES, Intent, Quantity, Sentiment, Unit
from app.signals.statuses import Outcome

START = datetime(2026, 11, 22, 10, tzinfo=UTC)
AMOUNTS = st.decimals("0.0001", "100000", places=4)
PRICES = st.none() | st.decimals("0.01", "100000", places=2)
QUANTITIES = st.none() | st.builds(Quantity, AMOUNTS, st.sampled_from([Unit.SHARES, Unit.SHARES, Unit.OTHER]))
PARTS = QUANTITIES | st.builds(Quantity, st.sampled_from([Decimal(25), Decimal(50)]), st.just(Unit.PERCENT))
STEPS = st.one_of(
    st.builds(OrderTerms, st.just(Intent.ADD), QUANTITIES, st.none(), PRICES),
    st.builds(OrderTerms, st.just(Intent.REDUCE), PARTS, st.sampled_from([None, Sentiment.LONG]), PRICES),
    st.builds(OrderTerms, st.sampled_from([Intent.ADJUST, Intent.OPEN]), QUANTITIES, st.none(), PRICES),
)


def play(orders: list[OrderTerms]) -> tuple[ClosedPosition, list[BookedOrder]]:
    """The position that the orders open and close, as it is stored, and the orders."""
    position: Position | None = None
    booked, buys, result = list[BookedOrder](), 0, None
    for number, terms in enumerate(orders):
        booked.append(
            BookedOrder(UUID(int=number + 1), START + timedelta(seconds=number), terms, Outcome.DELIVERED)
        )
        before, position = position, apply(terms, Outcome.DELIVERED, position)
        buys += terms.intent in ENTRIES
        if position is None:
            assert before is not None
            result = realized_by_close(terms, before)
            break
    assert before is not None
    closed = ClosedPosition(
        id=UUID(int=99),
        destination="default",
        ticker="AAPL",
        opened_at=START,
        opened_by=booked[0].signal_id,
        closed_at=booked[-1].at,
        closed_by=booked[-1].signal_id,
        buys=buys,
        reason="sell delivered",
        held=before.quantity,
        average_price=before.average_price,
        result=result,
        source="default",
        is_stored=True,
        rank=1,
        list_size=3,
    )
    return closed, booked


@given(
    st.builds(OrderTerms, st.just(Intent.OPEN), QUANTITIES, st.none(), PRICES),
    st.lists(STEPS, max_size=8),
    st.builds(OrderTerms, st.just(Intent.CLOSE), st.none(), st.none(), PRICES),
)
def test_what_was_bought_was_sold_and_the_result_is_the_difference(
    first: OrderTerms, between: list[OrderTerms], last: OrderTerms
) -> None:
    closed, orders = play([first, *between, last])
    trade = make_trade(closed, orders)
    assert (trade.quantity is None) == (closed.held is None)
    if trade.quantity is None:
        assert (trade.exit_price, trade.result) == (None, None)
        return
    assert trade.quantity == total(trade, "entries") == total(trade, "exits")
    if trade.result is not None:
        assert trade.entry_price is not None
        assert trade.exit_price is not None
        difference = (trade.exit_price - trade.entry_price) * trade.quantity
        assert abs(difference - trade.result) < Decimal("0.0001")
    for missing in range(len(orders)):
        if orders[missing].terms.intent is not Intent.ADJUST:
            rest = make_trade(closed, orders[:missing] + orders[missing + 1 :])
            assert rest.quantity is None or (rest.quantity == trade.quantity and missing == len(orders) - 1)


def total(trade: Trade, side: str) -> Decimal:
    """The shares of the entries or the exits."""
    return sum((each.quantity or Decimal(0) for each in getattr(trade, side)), Decimal(0))


@pytest.mark.parametrize(
    ("reason", "ended", "said"),
    [
        (f"{MARKED}at the broker", Ending.MARKED, "at the broker"),
        (DISMISSED, Ending.DISMISSED, DISMISSED),
        (
            "merged with a position of the same ticker",
            Ending.OTHER,
            "merged with a position of the same ticker",
        ),
    ],
)
def test_how_a_position_without_a_closing_order_ended(reason: str, ended: Ending, said: str) -> None:
    closed, orders = play(
        [OrderTerms(Intent.OPEN, Quantity(Decimal(5)), price=Decimal(2)), OrderTerms(Intent.CLOSE)]
    )
    trade = make_trade(closed._replace(closed_by=None, reason=reason, result=None), orders[:1])
    assert (trade.ended, trade.reason) == (ended, said)
    assert trade.quantity == 5
    assert trade.exits == []


@given(st.datetimes(datetime(1970, 1, 1), datetime(2900, 1, 1)), st.uuids())  # noqa: DTZ001  # without a zone
def test_a_cursor_is_the_moment_it_was_made_from(moment: datetime, trade_id: UUID) -> None:
    cursor = TradeCursor(moment.replace(tzinfo=UTC), trade_id)
    assert TradeCursor.parse(str(cursor)) == cursor
