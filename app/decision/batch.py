"""A batch of signals: what they are decided by, and the decisions in order. Pure."""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import NamedTuple
from uuid import UUID

from app.decision.risk import RiskBook, RiskRules
from app.decision.rules import OVERTAKEN, Decision, ListFacts, decide
from app.signals.alert import read_order
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, is_overtaken
from app.signals.reading import ENTRIES, Intent
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import DecisionResult, SignalType

_BOUGHT = Book.of(pending=[PendingOrder(OrderTerms(Intent.OPEN))])


class ClaimedSignal(NamedTuple):
    """An undecided signal that this transaction has claimed, with the facts to decide it by."""

    id: UUID
    seq: int
    ticker: str
    type: str
    body: bytes
    is_expired: bool
    facts: ListFacts
    source: str = "default"


class UnfinishedOrder(NamedTuple):
    """An order of a ticker that has not ended, or a buy that waits for its decision."""

    id: UUID
    seq: int
    order: PendingOrder


class TickerBook(NamedTuple):
    """What is open and unfinished of a ticker: `unfinished` are to be applied to `book` in order of arrival.

    `is_complete` False: only the newest orders were read. Fails open: something is counted as open.
    """

    book: Book
    unfinished: tuple[UnfinishedOrder, ...]
    is_complete: bool


def counted_books(rules: RiskRules, books: Mapping[str, TickerBook]) -> dict[str, Book]:
    """Return the books that `RiskBook` begins with; none where no rule counts."""
    if not rules.needs_counts:
        return {}
    return {ticker: PendingOrders(book).book for ticker, book in books.items()}


class DecidedThere(NamedTuple):
    """The decisions at a destination, by signal.

    `overtaken`: the earlier entries of other batches that an exit has overtaken. `exits`: the `seq` of such
    an exit by ticker, where its book does not have all of them.
    """

    decisions: dict[UUID, Decision]
    overtaken: list[UUID]
    exits: dict[str, int]


def decide_in_order(
    signals: Sequence[ClaimedSignal],
    books: Mapping[str, TickerBook],
    rules: BookRules,
    risk: RiskBook,
    takes: Callable[[ClaimedSignal], bool],
) -> DecidedThere:
    """Apply the rule in order: what is approved here is pending for the later signals of its ticker. Pure.

    What the destination does not take is not decided. Fails open: an exit is decided whatever it takes, if
    something of the ticker is, may be or is about to be open there.
    """
    tickers = {ticker: PendingOrders(book) for ticker, book in books.items()}
    decisions: dict[UUID, Decision] = {}
    overtaken: list[UUID] = []
    exits: dict[str, int] = {}
    for signal in signals:
        pending = tickers.get(signal.ticker)
        if pending is None:
            continue
        book = pending.book_before(signal.seq)
        is_exit_of_held = signal.type != SignalType.BUY and book.reason_to_exit is not None
        if not is_exit_of_held and not takes(signal):
            continue
        decision = decide(
            signal.type,
            read_order(signal.body, signal.type),
            book,
            signal.facts,
            rules,
            is_expired=signal.is_expired,
            risk=risk.facts_of(signal.ticker),
        )
        decisions[signal.id] = decision
        if decision.terms is None:
            continue
        buys = int(decision.terms.intent in ENTRIES)
        for each in pending.add(signal, decision.terms):
            buys -= each.order.is_decided
            if each.id in decisions:
                decisions[each.id] = OVERTAKEN
            else:
                overtaken.append(each.id)
        if decision.terms.intent is Intent.CLOSE and not pending.is_complete:
            exits[signal.ticker] = signal.seq
        if risk.has_limits:
            risk.note(signal.ticker, pending.book, buys=buys)
    return DecidedThere(decisions, overtaken, exits)


def decide_reprocessed(signals: Sequence[ClaimedSignal], why: ReasonCode, risk: RiskBook) -> list[Decision]:
    """Decide rejected buys again, in order, whose tickers are listed now. Pure.

    Nothing of these tickers is open or pending. A buy that passes counts for those after it.
    """
    decisions = list[Decision]()
    for signal in signals:
        facts, (rank, size, age) = risk.facts_of(signal.ticker), signal.facts
        if refused := facts.refuse_at_once() or facts.refuse_by_counts(Book()):
            decisions.append(Decision(DecisionResult.REJECTED, refused, {}))
            continue
        risk.note(signal.ticker, _BOUGHT, buys=1)
        reason = Reason(why, ticker=signal.ticker, rank=rank, size=size)
        detail = {
            "rank": rank,
            "list_size": size,
            "list_age_seconds": None if age is None else round(age, 1),
            "reprocessed": True,
        }
        reading = read_order(signal.body, signal.type)
        terms = OrderTerms(Intent.OPEN, reading.quantity, reading.sentiment)
        decisions.append(Decision(DecisionResult.APPROVED, reason, detail, terms))
    return decisions


class PendingOrders:
    """The pending orders of a ticker while a batch is decided; each is applied to the book once."""

    def __init__(self, stored: TickerBook) -> None:
        self._stored = stored
        self._later = list(stored.unfinished)
        self._earlier: list[UnfinishedOrder] = []
        self._book = stored.book

    @property
    def is_complete(self) -> bool:
        """Whether all pending orders are here."""
        return self._stored.is_complete

    @property
    def book(self) -> Book:
        """The book of all orders."""
        book = self._book
        for each in self._later:
            book = book.followed_by(each.order)
        return book

    def book_before(self, seq: int) -> Book:
        """Return the book of the orders that arrived before, and of those with an open attempt."""
        if self._later:
            is_earlier = [each.seq < seq or each.order.is_sending for each in self._later]
            for each in compress(self._later, is_earlier):
                self._append(each)
            self._later = [each for each, earlier in zip(self._later, is_earlier, strict=True) if not earlier]
        return self._book

    def add(self, signal: ClaimedSignal, terms: OrderTerms) -> list[UnfinishedOrder]:
        """Add an order; return the entries that it overtakes, which are pending no longer."""
        overtaken = list[UnfinishedOrder]()
        if terms.intent is Intent.CLOSE:
            overtaken = [each for each in self._earlier if is_overtaken(each.order, terms.intent)]
            left = [each for each in self._earlier if not is_overtaken(each.order, terms.intent)]
            self._earlier, self._book = [], self._stored.book
            for each in left:
                self._append(each)
        self._append(UnfinishedOrder(signal.id, signal.seq, PendingOrder(terms)))
        return overtaken

    def _append(self, order: UnfinishedOrder) -> None:
        self._earlier.append(order)
        self._book = self._book.followed_by(order.order)
