"""Trades: closed positions with their orders, and what they came to by the prices of alerts. Pure.

A price is the alert's, not that of a fill. What is not known is None, never 0.
The dataclasses are parts of the API's answers too: their names, fields and docstrings are in its document.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from app.signals.amounts import Amount
from app.signals.book import OrderTerms, Position, apply
from app.signals.reading import ENTRIES, Intent
from app.signals.statuses import Outcome

# What `positions.reason` begins with where a person has closed the position.
MARKED = "marked closed: "
DISMISSED = "dismissed: not open at the broker"

_EXACT = Context(prec=400)  # for sums and products of numbers with 60 digits before and after the point
_PRICE = Context(prec=30)  # an average may have no end
_EXITS = frozenset({Intent.CLOSE, Intent.REDUCE})


class Ending(StrEnum):
    """What closed the position."""

    EXIT = "exit"  # a delivered order
    MARKED = "marked"  # a person, because it was closed elsewhere
    DISMISSED = "dismissed"  # a person, because it is not open at the broker
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TradeOrder:
    """One delivered order of a trade; its timeline is at `/admin/signals/{signal_id}`.

    `quantity` is in shares. `price` is the alert's. Null: unknown. `sent_before_recorded`: a person recorded
    the position while this order was being sent, so it was not meant for that position.
    """

    signal_id: UUID
    at: datetime
    intent: Intent
    quantity: Amount | None
    price: Amount | None
    sent_before_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Trade:
    """A closed position. Prices and `result` are by the prices of alerts, not by fills. Null: unknown.

    `quantity` is the number of shares bought. `confirmed` is false if no buy is known to have been
    delivered: there may have been no position. `ended` is what closed it, `reason` what a person said.
    `rank` and `list_size` are those of the list that approved the first buy. `stored` is false once the
    signal of that buy is removed: quantity, source, rank and orders are then unknown.
    """

    id: UUID
    destination: str
    ticker: str
    source: str | None
    rank: int | None
    list_size: int | None
    opened_at: datetime
    opened_by: UUID | None
    closed_at: datetime
    closed_by: UUID | None
    duration_seconds: float
    buys: int
    quantity: Amount | None
    entry_price: Amount | None
    exit_price: Amount | None
    result: Amount | None
    confirmed: bool
    ended: Ending
    reason: str
    stored: bool
    entries: list[TradeOrder]
    exits: list[TradeOrder]


class ClosedPosition(NamedTuple):
    """A closed position as it is stored. `held` is what it held last, None: unknown."""

    id: UUID
    destination: str
    ticker: str
    opened_at: datetime
    opened_by: UUID | None
    closed_at: datetime
    closed_by: UUID | None
    buys: int
    reason: str
    held: Decimal | None
    average_price: Decimal | None
    result: Decimal | None
    source: str | None
    is_stored: bool
    rank: int | None
    list_size: int | None


class BookedOrder(NamedTuple):
    """An order that changed a position, with its outcome."""

    signal_id: UUID
    at: datetime
    terms: OrderTerms
    outcome: Outcome
    is_sent_before: bool = False


def make_trade(closed: ClosedPosition, orders: Sequence[BookedOrder]) -> Trade:
    """Return the trade of a closed position and its orders, in the order in which they changed it.

    The orders are applied to the book again. Only if that leaves what the position held last, all of them
    are there and the quantity is known.
    """
    steps = list(_apply_all(_in_order(closed, orders)))
    is_known = closed.buys > 0 and closed.held is not None and _leaves(closed, steps)
    entries = [step.entry for step in steps if step.order.terms.intent in ENTRIES]
    exits = [step.exit(is_known=is_known) for step in steps if step.order.terms.intent in _EXITS]
    # of a single buy the average is its price, also after its signal is removed
    entry_price = _average(entries) if is_known else closed.average_price if closed.buys == 1 else None
    return Trade(
        id=closed.id,
        destination=closed.destination,
        ticker=closed.ticker,
        source=closed.source,
        rank=closed.rank,
        list_size=closed.list_size,
        opened_at=closed.opened_at,
        opened_by=closed.opened_by,
        closed_at=closed.closed_at,
        closed_by=closed.closed_by,
        duration_seconds=max(0.0, round((closed.closed_at - closed.opened_at).total_seconds(), 3)),
        buys=closed.buys,
        quantity=_sum(order.quantity for order in entries) if is_known else None,
        entry_price=entry_price,
        exit_price=_average(exits) if is_known and closed.closed_by else None,
        result=closed.result,
        confirmed=closed.buys > 0,
        ended=_ending(closed),
        reason="" if closed.closed_by else closed.reason.removeprefix(MARKED),
        stored=closed.is_stored,
        entries=entries,
        exits=exits,
    )


class _Step(NamedTuple):
    order: BookedOrder
    before: Position | None
    after: Position | None

    @property
    def entry(self) -> TradeOrder:
        return self._order(_shares(self.order.terms))

    def exit(self, *, is_known: bool) -> TradeOrder:
        """Return the exit with what it sold; while the quantity is unknown, with what it asked for."""
        held = self.before.quantity if self.before else None
        if not is_known or held is None:
            return self._order(_shares(self.order.terms))
        left = self.after.quantity if self.after else Decimal(0)
        return self._order(None if left is None else _EXACT.subtract(held, left))

    def _order(self, quantity: Decimal | None) -> TradeOrder:
        order, terms = self.order, self.order.terms
        return TradeOrder(
            order.signal_id, order.at, terms.intent, quantity, terms.price, order.is_sent_before
        )


def _in_order(closed: ClosedPosition, orders: Sequence[BookedOrder]) -> list[BookedOrder]:
    """Return the orders with the one that opened the position first, and the one that closed it last."""
    return sorted(
        orders, key=lambda order: (order.signal_id == closed.closed_by, order.signal_id != closed.opened_by)
    )


def _apply_all(orders: Sequence[BookedOrder]) -> Iterator[_Step]:
    position: Position | None = None
    for order in orders:
        before, position = position, apply(order.terms, order.outcome, position)
        if before is None and position is not None:
            # a person has confirmed it, or its quantity is unknown anyway
            position = position._replace(is_confirmed=True)
        yield _Step(order, before, position)


def _leaves(closed: ClosedPosition, steps: Sequence[_Step]) -> bool:
    """Return whether the orders are all that the book counts, and leave what the position held last."""
    buys = sum(step.order.terms.intent in ENTRIES for step in steps)
    if buys != closed.buys:
        return False
    last = steps[-1].before if closed.closed_by else steps[-1].after
    return last is not None and last.quantity == closed.held


def _shares(terms: OrderTerms) -> Decimal | None:
    return terms.quantity.shares if terms.quantity else None


def _average(orders: Sequence[TradeOrder]) -> Decimal | None:
    paid, quantity = _sum(map(_paid, orders)), _sum(order.quantity for order in orders)
    return _PRICE.divide(paid, quantity) if paid is not None and quantity else None


def _paid(order: TradeOrder) -> Decimal | None:
    if order.price is None or order.quantity is None:
        return None
    return _EXACT.multiply(order.price, order.quantity)


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total = _EXACT.add(total, amount)
    return total


def _ending(closed: ClosedPosition) -> Ending:
    if closed.closed_by:
        return Ending.EXIT
    if closed.reason.startswith(MARKED):
        return Ending.MARKED
    return Ending.DISMISSED if closed.reason == DISMISSED else Ending.OTHER
