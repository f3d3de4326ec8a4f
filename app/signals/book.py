"""The position book of a ticker at one destination: what alerts mean for it, and what orders do to it. Pure.

`resolve` turns a reading into the intent of an order; `apply` changes the position by an order's outcome.
Fails open: for an exit, what may be open counts as open.
"""

from collections.abc import Iterable
from decimal import Context, Decimal
from enum import StrEnum
from typing import Literal, NamedTuple, Self

from app.signals.reading import ENTRIES, MAY_COVER, Intent, Quantity, Reading, Sentiment, Unit
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome, SignalType

# Exact for sums and percentages of numbers with 60 digits before and after the point.
_EXACT = Context(prec=400)
_PRICE = Context(prec=30)  # an average may have no end


class Position(NamedTuple):
    """An open position. `quantity` None: unknown.

    Unconfirmed means that it may be open: the outcome of an order is unknown, or a person recorded it.
    `quantity` is then what it holds if it is open. `average_price` and `realized`, the gain of what was sold,
    are by the prices of alerts; None: unknown.
    """

    quantity: Decimal | None
    is_confirmed: bool = True
    average_price: Decimal | None = None
    realized: Decimal | None = None


class OrderTerms(NamedTuple):
    """What an order asks for. `sentiment` is the position after it, where the alert says so.

    `price` is the alert's.
    """

    intent: Intent
    quantity: Quantity | None = None
    sentiment: Sentiment | None = None
    price: Decimal | None = None


class PendingOrder(NamedTuple):
    """An unfinished order. `is_sending`: an attempt is open. `is_decided` False: an undecided entry."""

    terms: OrderTerms
    is_sending: bool = False
    is_decided: bool = True


class Book(NamedTuple):
    """The position by the orders with a known outcome, and what the unfinished orders make of it.

    `projected` is the position once every decided pending order is delivered. `has_pending_exit`: one that
    closes or reduces it. `last_exit_sentiment` is that of the ticker's last exit, pending or finished.
    `has_undecided_entry`: what it would open is not in `projected`.
    """

    position: Position | None = None
    projected: Position | None = None
    has_pending_entry: bool = False
    has_pending_exit: bool = False
    last_exit_sentiment: Sentiment | None = None
    has_undecided_entry: bool = False

    @classmethod
    def of(
        cls,
        position: Position | None = None,
        pending: Iterable[PendingOrder] = (),
        last_exit_sentiment: Sentiment | None = None,
    ) -> Self:
        """Return the book of a position and the orders pending on it, in order of arrival."""
        book = cls(position, position, last_exit_sentiment=last_exit_sentiment)
        for order in pending:
            book = book.followed_by(order)
        return book

    def followed_by(self, order: PendingOrder) -> Self:
        """Return the book with one more pending order."""
        projected, sentiment = self.projected, self.last_exit_sentiment
        if order.is_decided:
            projected = apply(order.terms, Outcome.DELIVERED, projected)
        is_exit = order.terms.intent in _EXITS
        if is_exit:
            sentiment = order.terms.sentiment
        return self._replace(
            projected=projected,
            has_pending_entry=self.has_pending_entry or order.terms.intent in ENTRIES,
            has_pending_exit=self.has_pending_exit or is_exit,
            last_exit_sentiment=sentiment,
            has_undecided_entry=self.has_undecided_entry or not order.is_decided,
        )

    @property
    def reason_to_exit(self) -> Reason | None:
        """Why an exit passes: something is, may be or is about to be open. None: it is unmatched."""
        if self.position is not None:
            return _reason_held(self.position)
        return Reason(ReasonCode.ITS_BUY_PENDING) if self.has_pending_entry else None

    @property
    def follows_reversal(self) -> bool:
        """Whether the last exit was to end in a short position."""
        return self.last_exit_sentiment is Sentiment.SHORT


class BookRules(NamedTuple):
    """The operator's choices where an alert and the book leave one."""

    duplicate_buys: Literal["forward", "add", "reject"] = "forward"
    partial_exits: Literal["keep_open", "close"] = "keep_open"
    unmatched_exits: Literal["reject", "forward"] = "reject"


class Resolution(NamedTuple):
    """The intent of the order to make, or None with the reason for the rejection.

    An approved exit has the reason why it passes. An approved entry has none, because the list decides it.
    `is_unmatched`: an exit of a ticker with nothing open.
    """

    intent: Intent | None
    reason: Reason | None = None
    remarks: tuple[Reason, ...] = ()
    is_unmatched: bool = False


_EXITS = frozenset({Intent.CLOSE, Intent.REDUCE})  # of resolved orders; `ADJUST` sells nothing
_HUNDRED = Decimal(100)


def resolve(reading: Reading, book: Book, rules: BookRules) -> Resolution:
    """Resolve an alert on the book of one destination: the order to make, or the reason for none."""
    match reading.intent:
        case None:
            return Resolution(None, reading.reason, reading.remarks)
        case Intent.OPEN | Intent.ADD:
            return _resolve_entry(reading, book, rules)
        case Intent.ADJUST:
            reason = book.reason_to_exit
            intent = Intent.ADJUST if reason else None
            return Resolution(intent, reason or Reason(ReasonCode.NOTHING_OPEN), reading.remarks)
        case _:
            return _resolve_exit(reading, book, rules)


def resolve_claimed(
    decided: Intent,
    reading: Reading,
    position: Position | None,
    rules: BookRules,
    *,
    is_retry_of_unknown: bool = False,
) -> Resolution:
    """Resolve a decided order again, right before its attempt: no earlier order of its ticker is pending.

    Earlier orders may have ended otherwise than the decision projected. An order decided as `CLOSE` never
    becomes less. An add to an unconfirmed position is sent as buy. `is_retry_of_unknown`: the position may
    come from an earlier attempt of the same order, so it does not make that order a duplicate.
    """
    if is_retry_of_unknown:
        rules = rules._replace(duplicate_buys="forward")
    resolution = resolve(reading, Book.of(position), rules)
    if decided is Intent.CLOSE and resolution.intent in _EXITS:
        return resolution._replace(intent=Intent.CLOSE)
    if resolution.intent is Intent.ADD and position is not None and not position.is_confirmed:
        return resolution._replace(intent=Intent.OPEN)
    return resolution


def is_overtaken(order: PendingOrder, by: Intent) -> bool:
    """Return whether an earlier order ends undelivered because of this exit: entries that have not left.

    Only a `CLOSE` ends them. A `REDUCE` may leave before an undecided entry, which stays.
    """
    return by is Intent.CLOSE and order.terms.intent in ENTRIES and not order.is_sending


def apply(terms: OrderTerms, outcome: Outcome, position: Position | None) -> Position | None:
    """Return the position after an attempt of an order has ended; None: nothing is open.

    `terms.intent` is the one that was sent. A success after an unknown outcome is applied once more: as
    `DELIVERED`, or as `UNKNOWN` if another order of the ticker has ended meanwhile.
    """
    match outcome:
        case Outcome.DELIVERED:
            return _apply_delivered(terms, position)
        case Outcome.UNKNOWN:
            return _apply_unknown(terms, position)
        case _:
            return position


def _resolve_entry(reading: Reading, book: Book, rules: BookRules) -> Resolution:
    remarks, held = reading.remarks, book.projected
    if book.follows_reversal and MAY_COVER not in remarks:
        remarks += (MAY_COVER,)
    if held is None:
        if reading.intent is Intent.ADD:
            return Resolution(None, Reason(ReasonCode.NOTHING_TO_ADD_TO), remarks)
        return Resolution(Intent.OPEN, None, remarks)
    if reading.intent is Intent.ADD:
        return Resolution(Intent.ADD, None, remarks)
    reason = Reason(ReasonCode.BUY_PENDING) if book.position is None else _reason_held(book.position)
    match rules.duplicate_buys:
        case "reject":
            return Resolution(None, Reason(ReasonCode.DUPLICATE_BUY, reason=reason), remarks)
        case "add":
            return Resolution(Intent.ADD, None, (*remarks, Reason(ReasonCode.REMARK_ADDS, reason=reason)))
        case "forward":
            remark = Reason(ReasonCode.REMARK_DUPLICATE, reason=reason)
            return Resolution(Intent.OPEN, None, (*remarks, remark))


def _resolve_exit(reading: Reading, book: Book, rules: BookRules) -> Resolution:
    reason, held = book.reason_to_exit, book.projected
    if reason is None and rules.unmatched_exits == "reject":
        return Resolution(None, Reason(ReasonCode.NOTHING_OPEN), reading.remarks, is_unmatched=True)
    if reason is None or (held is None and book.has_undecided_entry):  # the quantity held is unknown
        held = Position(None, is_confirmed=False)
    intent, remarks = _intent_of_exit(reading, held, rules)
    return Resolution(
        intent,
        reason or Reason(ReasonCode.UNMATCHED),
        (*reading.remarks, *remarks),
        is_unmatched=reason is None,
    )


def _intent_of_exit(
    reading: Reading, held: Position | None, rules: BookRules
) -> tuple[Intent | None, tuple[Reason, ...]]:
    """Return `CLOSE` or `REDUCE`, and a remark where the book decides which."""
    if reading.intent is not Intent.REDUCE_OR_CLOSE:
        return reading.intent, ()
    shares = reading.quantity.shares if reading.quantity else None
    quantity = held.quantity if held else Decimal(0)
    if shares is None or quantity is None:
        if rules.partial_exits == "close":
            return Intent.CLOSE, (Reason(ReasonCode.REMARK_CLOSES_UNKNOWN),)
        return Intent.REDUCE, (Reason(ReasonCode.REMARK_REDUCES_UNKNOWN),)
    if shares < quantity:
        return Intent.REDUCE, ()
    return Intent.CLOSE, (Reason(ReasonCode.REMARK_CLOSES_ALL),)


def _reason_held(position: Position) -> Reason:
    return Reason(ReasonCode.POSITION_OPEN if position.is_confirmed else ReasonCode.MAY_BE_OPEN)


def _apply_delivered(terms: OrderTerms, position: Position | None) -> Position | None:
    shares = terms.quantity.shares if terms.quantity else None
    match terms.intent:
        case Intent.OPEN:
            # With a position the bridge may have executed the buy or not; something is open in either case.
            return _opened(shares, terms.price) if position is None else Position(None)
        case Intent.ADD:
            return _added(position, shares, terms.price)
        case Intent.CLOSE:
            return None
        case Intent.REDUCE if position is not None:
            return _reduced(position, terms)
        case _:
            return position


def _opened(shares: Decimal | None, price: Decimal | None, *, is_confirmed: bool = True) -> Position:
    return Position(shares, is_confirmed, price, None if price is None else Decimal(0))


def _added(position: Position | None, shares: Decimal | None, price: Decimal | None) -> Position:
    if position is None or not position.is_confirmed:
        # Fails open: the bridge executes no add where nothing is open, and its answer does not say so.
        return Position(None, is_confirmed=False)
    if position.quantity is None or shares is None:
        return Position(None)
    total = _EXACT.add(position.quantity, shares)
    average = position.average_price
    if average is not None and price is not None:
        paid = _EXACT.add(_EXACT.multiply(average, position.quantity), _EXACT.multiply(price, shares))
        average = _PRICE.divide(paid, total)
    else:
        average = None
    return position._replace(quantity=total, average_price=average)


def realized_by_close(terms: OrderTerms, position: Position) -> Decimal | None:
    """Return the position's whole gain once this order has closed it, by alert prices; None: unknown."""
    return _realized(position, terms.price, position.quantity)


def _realized(position: Position, price: Decimal | None, sold: Decimal | None) -> Decimal | None:
    average, before = position.average_price, position.realized
    if price is None or sold is None or average is None or before is None:
        return None
    gain = _EXACT.multiply(_EXACT.subtract(price, average), sold)
    return _EXACT.add(before, gain)


def _reduced(position: Position, terms: OrderTerms) -> Position | None:
    left = _left(position.quantity, terms.quantity)
    if left is not None and left <= 0:
        if terms.sentiment is not Sentiment.LONG:
            return None
        left = None  # the sender holds more than the book knows of
    if left is None or position.quantity is None:
        return Position(None, position.is_confirmed)
    sold = _EXACT.subtract(position.quantity, left)
    return position._replace(quantity=left, realized=_realized(position, terms.price, sold))


def _left(held: Decimal | None, sold: Quantity | None) -> Decimal | None:
    """Return what is left, None if unknown. How the bridge rounds a percentage is unknown, too."""
    if held is None or sold is None:
        return None
    if sold.percent is not None:
        left = _EXACT.divide(_EXACT.multiply(held, _EXACT.subtract(_HUNDRED, sold.percent)), _HUNDRED)
        return left if left == left.to_integral_value(context=_EXACT) else None
    return None if sold.shares is None else _EXACT.subtract(held, sold.shares)


def _apply_unknown(terms: OrderTerms, position: Position | None) -> Position | None:
    """Return what may be open: exits pass, and a person is asked."""
    match terms.intent:
        case Intent.OPEN if position is None:
            shares = terms.quantity.shares if terms.quantity else None
            return _opened(shares, terms.price, is_confirmed=False)
        case Intent.OPEN | Intent.ADD:
            return Position(None, is_confirmed=False)
        case Intent.CLOSE if position is not None:
            return position._replace(is_confirmed=False)
        case Intent.REDUCE if position is not None:
            return Position(None, is_confirmed=False)
        case _:
            return position


class Effect(StrEnum):
    """The effect of a delivered order, as the version before reads it in a kept outcome."""

    OPENS = "opens"
    CLOSES = "closes"
    NOTHING = "nothing"


_EFFECTS = {Intent.OPEN: Effect.OPENS, Intent.ADD: Effect.OPENS, Intent.CLOSE: Effect.CLOSES}
_INTENTS = {Effect.OPENS: Intent.OPEN, Effect.CLOSES: Intent.CLOSE, Effect.NOTHING: Intent.REDUCE}


def effect_of(intent: Intent) -> Effect:
    """Return the effect of an order once it is delivered."""
    return _EFFECTS.get(intent, Effect.NOTHING)


def terms_of_effect(effect: Effect) -> OrderTerms:
    """Return the terms of an order of the version before; the quantity is unknown."""
    return OrderTerms(_INTENTS[effect])


def stored_terms(
    order_type: str,
    intent: str | None,
    quantity: Decimal | None = None,
    unit: str | None = None,
    sentiment: str | None = None,
    price: Decimal | None = None,
) -> OrderTerms:
    """Return the terms of a stored order.

    One of an earlier version may have no intent or `reduce_or_close`, and has no quantity: what it leaves is
    unknown.
    """
    known = Intent.OPEN if order_type == SignalType.BUY else Intent.CLOSE
    if intent is not None:
        known = Intent.REDUCE if intent == Intent.REDUCE_OR_CLOSE else Intent(intent)
    return OrderTerms(
        known,
        None if quantity is None else Quantity(quantity, Unit(unit or Unit.SHARES)),
        None if sentiment is None else Sentiment(sentiment),
        price,
    )


def terms_columns(terms: OrderTerms | None) -> tuple[str | None, Decimal | None, str | None, str | None]:
    """Return the values of the columns `intent`, `quantity`, `quantity_unit` and `sentiment`."""
    if terms is None:
        return None, None, None, None
    quantity = terms.quantity
    amount, unit = (None, None) if quantity is None else (quantity.amount, quantity.unit.value)
    return terms.intent.value, amount, unit, terms.sentiment.value if terms.sentiment else None
