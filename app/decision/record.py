"""What a batch was decided by, in the form in which it is stored, so that it can be decided again. Pure.

A column of `decision_batches` has it. A version reads what earlier ones wrote: a new member has a default.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Self
from uuid import UUID

import msgspec
from msgspec import Struct

from app.config.destinations import DEFAULT_DESTINATION, Match
from app.config.times import parse_hours
from app.decision.batch import ClaimedSignal, TickerBook, UnfinishedOrder, counted_books
from app.decision.destinations import (
    Decided,
    DestinationBooks,
    decide_everywhere,
    decide_reprocessed_everywhere,
)
from app.decision.risk import RiskBook, RiskCounts, RiskRules
from app.decision.rules import ListFacts
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, Position
from app.signals.reading import Intent, Quantity, Sentiment, Unit
from app.signals.reasons import ReasonCode
from app.signals.statuses import SignalType

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


class DestinationInputs(NamedTuple):
    """What decides a batch at one destination.

    `taken`: indexes of the signals that it takes, None: all. `is_configured`: see `DestinationBooks`.
    """

    books: Mapping[str, TickerBook]
    counts: RiskCounts
    name: str = DEFAULT_DESTINATION
    taken: frozenset[int] | None = None
    is_configured: bool = True

    def takes(self, index: int) -> bool:
        """Return whether the destination takes this signal of the batch."""
        return self.taken is None or index in self.taken


class BatchInputs(NamedTuple):
    """Everything that decides a batch, see `decide_everywhere`, and the list its facts are from.

    `ended`: indexes of signals that ended before their decision was stored, so that it was not.
    `reprocessed`: why rejected buys are decided again, see `decide_reprocessed`; None: undecided signals.
    """

    signals: Sequence[ClaimedSignal]
    destinations: Sequence[DestinationInputs]
    book_rules: BookRules
    risk_rules: RiskRules
    now: datetime
    listed: ListInForce
    ended: frozenset[int] = frozenset()
    reprocessed: ReasonCode | None = None

    @property
    def tickers(self) -> frozenset[str]:
        """The tickers of the batch."""
        return frozenset(signal.ticker for signal in self.signals)

    def decide(self) -> Decided:
        """Return the decisions and their orders, in the order of the signals."""
        destinations = list(map(self._books_of, self.destinations))
        if self.reprocessed is not None:
            return decide_reprocessed_everywhere(self.signals, destinations, self.reprocessed)
        return decide_everywhere(self.signals, destinations, self.book_rules)

    def _books_of(self, there: DestinationInputs) -> DestinationBooks:
        books = counted_books(self.risk_rules, there.books)
        risk = RiskBook(self.risk_rules, self.now, there.counts, books.items())
        taken = None if there.taken is None else {self.signals[index].id for index in there.taken}
        return DestinationBooks(
            there.name,
            lambda signal: taken is None or signal.id in taken,
            there.books,
            risk,
            there.is_configured,
        )


def taken_of(signals: Sequence[ClaimedSignal], match: Match) -> frozenset[int] | None:
    """Return the indexes of the signals that a destination with this filter takes, None: all."""
    taken = [
        index
        for index, each in enumerate(signals)
        if (match.takes if each.type == SignalType.BUY else match.takes_exit)(each.source, each.ticker)
    ]
    return None if len(taken) == len(signals) else frozenset(taken)


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
    has_undecided_entry: bool = False
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
            book.has_undecided_entry,
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
            self.has_undecided_entry,
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
    def of(cls, rules: RiskRules, tickers: frozenset[str]) -> Self:
        return cls(
            rules.buys_paused,
            rules.hours.text if rules.hours else None,
            rules.max_open_positions,
            rules.max_buys_per_day,
            rules.cooldown_seconds,
            tuple(sorted(rules.blocklist & tickers)),
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


class _There(Struct, omit_defaults=True):
    """What decided a batch at a destination; `taken` None: all signals."""

    books: dict[str, _Book] = {}
    positions: int = 0
    buys_today: int = 0
    since_exit: dict[str, float] = {}
    taken: tuple[int, ...] | None = None

    def read(self, name: str, tickers: frozenset[str], *, is_configured: bool = True) -> DestinationInputs:
        return DestinationInputs(
            dict.fromkeys(tickers, _NOTHING) | {ticker: book.read() for ticker, book in self.books.items()},
            RiskCounts(self.positions, self.buys_today, self.since_exit),
            name,
            None if self.taken is None else frozenset(self.taken),
            is_configured,
        )


class _Other(_There, omit_defaults=True, kw_only=True):
    """What decided a batch at another destination than the first."""

    name: str
    is_configured: bool = True


class _Batch(_There, omit_defaults=True, kw_only=True):
    """`ranks` are in the order of the signals, without the unlisted ones at the end.

    `expired` and `ended` are indexes of signals; the statement that stores the batch adds `ended`. The
    members of `_There` are those of `default`: a version that knew one destination has written no others.
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
    book_rules: _BookRules | None = None
    risk: _Risk | None = None
    others: tuple[_Other, ...] = ()
    reprocessed: ReasonCode | None = None


def stored_form(inputs: BatchInputs) -> Struct:
    """Return what is stored of a batch. The signals themselves are stored already."""
    signals, listed, tickers = inputs.signals, inputs.listed, inputs.tickers
    facts = signals[0].facts if signals else ListFacts(None, None, None)
    book_rules, risk = _BookRules(*inputs.book_rules), _Risk.of(inputs.risk_rules, tickers)
    ranks = [signal.facts.rank for signal in signals]
    while ranks and ranks[-1] is None:
        del ranks[-1]
    default, *others = inputs.destinations
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
        book_rules=None if book_rules == _BookRules() else book_rules,
        risk=None if risk == _Risk() else risk,
        others=tuple(
            _Other(name=each.name, is_configured=each.is_configured, **_there(each, tickers))
            for each in others
        ),
        reprocessed=inputs.reprocessed,
        **_there(default, tickers),
    )


def _there(inputs: DestinationInputs, tickers: frozenset[str]) -> dict[str, Any]:
    """Return the members of `_There`."""
    return {
        "books": {
            ticker: _Book.of(book)
            for ticker, book in inputs.books.items()
            if book != _NOTHING or ticker not in tickers
        },
        "positions": inputs.counts.positions,
        "buys_today": inputs.counts.buys_today,
        "since_exit": dict(inputs.counts.since_exit),
        "taken": None if inputs.taken is None else tuple(sorted(inputs.taken)),
    }


def read_stored(stored: object, signals: Sequence[ClaimedSignal]) -> BatchInputs:
    """Return the inputs of a stored batch; `signals` are its signals in order, their facts are ignored.

    Raises:
        ValueError: it is not in the stored form.
    """
    batch = msgspec.convert(stored, _Batch)  # its error is a ValueError
    ranks = (*batch.ranks, *[None] * (len(signals) - len(batch.ranks)))
    expired = frozenset(batch.expired)
    tickers = frozenset(signal.ticker for signal in signals)
    return BatchInputs(
        signals=[
            signal._replace(
                is_expired=index in expired,
                facts=ListFacts(rank, batch.list_size, batch.list_age_seconds),
            )
            for index, (signal, rank) in enumerate(zip(signals, ranks, strict=True))
        ],
        destinations=[
            batch.read(DEFAULT_DESTINATION, tickers),
            *(each.read(each.name, tickers, is_configured=each.is_configured) for each in batch.others),
        ],
        book_rules=(batch.book_rules or _BookRules()).read(),
        risk_rules=(batch.risk or _Risk()).read(),
        now=batch.now.astimezone(UTC),
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
