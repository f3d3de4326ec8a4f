"""What a batch was decided by, in the form in which it is stored, so that it can be decided again. Pure.

A column of `decision_batches` has it. A version reads what earlier ones wrote: a new member has a default.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, NamedTuple, Self
from uuid import UUID

import msgspec
from msgspec import Struct

from app.config.times import parse_hours
from app.decision.batch import (
    ClaimedSignal,
    TickerBook,
    UnfinishedOrder,
    counted_books,
    decide_in_order,
    decide_reprocessed,
)
from app.decision.risk import RiskBook, RiskCounts, RiskRules
from app.decision.rules import Decision, ListFacts
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, Position
from app.signals.reading import Intent, Quantity, Sentiment, Unit
from app.signals.reasons import ReasonCode

_NOTHING = TickerBook(Book(), (), is_complete=True)


class ListInForce(NamedTuple):
    """The list of a batch. `top_n` and `max_age_seconds` are those that the strategy had, None: unknown.

    `id` and `fetched_at` are None without a list. `is_frozen`: the engine was paused.
    """

    strategy: str
    top_n: int | None = None
    max_age_seconds: int | None = None
    is_frozen: bool = False
    id: int | None = None
    fetched_at: datetime | None = None


class BatchInputs(NamedTuple):
    """Everything that decides a batch, see `decide_in_order`, and the list its facts are from.

    `ended`: indexes of signals that ended before their decision was stored, so that it was not.
    `reprocessed`: why rejected buys are decided again, see `decide_reprocessed`; None: undecided signals.
    """

    signals: Sequence[ClaimedSignal]
    books: Mapping[str, TickerBook]
    book_rules: BookRules
    risk_rules: RiskRules
    now: datetime
    counts: RiskCounts
    listed: ListInForce
    ended: frozenset[int] = frozenset()
    reprocessed: ReasonCode | None = None

    def decide(self) -> list[Decision]:
        """Return the decisions, in the order of the signals."""
        books = counted_books(self.risk_rules, self.books)
        risk = RiskBook(self.risk_rules, self.now, self.counts, books.items())
        if self.reprocessed is not None:
            return decide_reprocessed(self.signals, self.reprocessed, risk)
        decisions, _, _ = decide_in_order(self.signals, self.books, self.book_rules, risk)
        return decisions


class _Position(Struct, omit_defaults=True):
    quantity: Decimal | None = None
    is_confirmed: bool = True

    @classmethod
    def of(cls, position: Position | None) -> Self | None:
        return None if position is None else cls(position.quantity, position.is_confirmed)

    def read(self) -> Position:
        return Position(self.quantity, self.is_confirmed)


class _Order(Struct, omit_defaults=True):
    id: UUID
    seq: int
    intent: Intent
    has_quantity: bool = False
    quantity: Decimal | None = None
    unit: Unit = Unit.SHARES
    sentiment: Sentiment | None = None
    is_sending: bool = False
    is_decided: bool = True

    @classmethod
    def of(cls, order: UnfinishedOrder) -> Self:
        (terms, is_sending, is_decided), quantity = order.order, order.order.terms.quantity
        amount, unit = quantity or Quantity(None)
        return cls(
            *(order.id, order.seq, terms.intent, quantity is not None, amount, unit, terms.sentiment),
            is_sending=is_sending,
            is_decided=is_decided,
        )

    def read(self) -> UnfinishedOrder:
        quantity = Quantity(self.quantity, self.unit) if self.has_quantity else None
        terms = OrderTerms(self.intent, quantity, self.sentiment)
        return UnfinishedOrder(self.id, self.seq, PendingOrder(terms, self.is_sending, self.is_decided))


class _Book(Struct, omit_defaults=True):
    position: _Position | None = None
    projected: _Position | None = None
    has_pending_entry: bool = False
    has_pending_exit: bool = False
    last_exit: Sentiment | None = None
    unfinished: tuple[_Order, ...] = ()
    is_complete: bool = True

    @classmethod
    def of(cls, stored: TickerBook) -> Self:
        book = stored.book
        return cls(
            _Position.of(book.position),
            _Position.of(book.projected),
            book.has_pending_entry,
            book.has_pending_exit,
            book.last_exit_sentiment,
            tuple(map(_Order.of, stored.unfinished)),
            stored.is_complete,
        )

    def read(self) -> TickerBook:
        book = Book(
            self.position.read() if self.position else None,
            self.projected.read() if self.projected else None,
            self.has_pending_entry,
            self.has_pending_exit,
            self.last_exit,
        )
        return TickerBook(book, tuple(order.read() for order in self.unfinished), self.is_complete)


class _BookRules(Struct, omit_defaults=True):
    # the defaults of this form: a stored batch keeps its meaning when those of the settings change
    duplicate_buys: Literal["forward", "add", "reject"] = "forward"
    partial_exits: Literal["keep_open", "close"] = "keep_open"
    unmatched_exits: Literal["reject", "forward"] = "reject"

    def read(self) -> BookRules:
        return BookRules(self.duplicate_buys, self.partial_exits, self.unmatched_exits)


class _Risk(Struct, omit_defaults=True):
    """The rules; of the blocklist the tickers of the batch. `hours` are as configured."""

    buys_paused: bool = False
    hours: str | None = None
    max_open_positions: int | None = None
    max_buys_per_day: int | None = None
    cooldown_seconds: int = 0
    blocklist: tuple[str, ...] = ()

    @classmethod
    def of(cls, rules: RiskRules, tickers: Mapping[str, object]) -> Self:
        return cls(
            rules.buys_paused,
            rules.hours.text if rules.hours else None,
            rules.max_open_positions,
            rules.max_buys_per_day,
            rules.cooldown_seconds,
            tuple(sorted(rules.blocklist & tickers.keys())),
        )

    def read(self) -> RiskRules:
        return RiskRules(
            self.buys_paused,
            parse_hours(self.hours) if self.hours else None,
            self.max_open_positions,
            self.max_buys_per_day,
            self.cooldown_seconds,
            frozenset(self.blocklist),
        )


class _Batch(Struct, omit_defaults=True):
    """`ranks` are in the order of the signals, without the unlisted ones at the end.

    `expired` and `ended` are indexes of signals; the statement that stores the batch adds `ended`.
    """

    now: datetime
    strategy: str
    top_n: int | None = None
    max_age_seconds: int | None = None
    is_frozen: bool = False
    list_id: int | None = None
    fetched_at: datetime | None = None
    list_size: int | None = None
    list_age_seconds: float | None = None
    ranks: tuple[int | None, ...] = ()
    expired: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()
    books: dict[str, _Book] = {}
    book_rules: _BookRules | None = None
    risk: _Risk | None = None
    positions: int = 0
    buys_today: int = 0
    since_exit: dict[str, float] = {}
    reprocessed: ReasonCode | None = None


def stored_form(inputs: BatchInputs) -> Struct:
    """Return what is stored of a batch. The signals themselves are stored already."""
    signals, listed, counts = inputs.signals, inputs.listed, inputs.counts
    facts = signals[0].facts if signals else ListFacts(None, None, None)
    book_rules, risk = _BookRules(*inputs.book_rules), _Risk.of(inputs.risk_rules, inputs.books)
    ranks, tickers = [signal.facts.rank for signal in signals], {signal.ticker for signal in signals}
    while ranks and ranks[-1] is None:
        del ranks[-1]
    return _Batch(
        now=inputs.now,
        strategy=listed.strategy,
        top_n=listed.top_n,
        max_age_seconds=listed.max_age_seconds,
        is_frozen=listed.is_frozen,
        list_id=listed.id,
        fetched_at=listed.fetched_at,
        list_size=facts.list_size,
        list_age_seconds=facts.list_age_seconds,
        ranks=tuple(ranks),
        expired=tuple(index for index, signal in enumerate(signals) if signal.is_expired),
        ended=tuple(sorted(inputs.ended)),
        books={
            ticker: _Book.of(book)
            for ticker, book in inputs.books.items()
            if book != _NOTHING or ticker not in tickers
        },
        book_rules=None if book_rules == _BookRules() else book_rules,
        risk=None if risk == _Risk() else risk,
        positions=counts.positions,
        buys_today=counts.buys_today,
        since_exit=dict(counts.since_exit),
        reprocessed=inputs.reprocessed,
    )


def read_stored(stored: object, signals: Sequence[ClaimedSignal]) -> BatchInputs:
    """Return the inputs of a stored batch; `signals` are its signals in order, their facts are ignored.

    Raises:
        ValueError: it is not in the stored form.
    """
    batch = msgspec.convert(stored, _Batch)  # its error is a ValueError
    ranks = (*batch.ranks, *[None] * (len(signals) - len(batch.ranks)))
    expired = frozenset(batch.expired)
    return BatchInputs(
        signals=[
            signal._replace(
                is_expired=index in expired,
                facts=ListFacts(rank, batch.list_size, batch.list_age_seconds),
            )
            for index, (signal, rank) in enumerate(zip(signals, ranks, strict=True))
        ],
        books={signal.ticker: _NOTHING for signal in signals}
        | {ticker: book.read() for ticker, book in batch.books.items()},
        book_rules=(batch.book_rules or _BookRules()).read(),
        risk_rules=(batch.risk or _Risk()).read(),
        now=batch.now.astimezone(UTC),
        counts=RiskCounts(batch.positions, batch.buys_today, batch.since_exit),
        listed=ListInForce(
            batch.strategy,
            batch.top_n,
            batch.max_age_seconds,
            batch.is_frozen,
            batch.list_id,
            None if batch.fetched_at is None else batch.fetched_at.astimezone(UTC),
        ),
        ended=frozenset(batch.ended),
        reprocessed=batch.reprocessed,
    )
