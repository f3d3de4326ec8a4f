"""What differs at one destination while a what-if runs: its books, and what its risk rules count. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Self

from app.decision.batch import PendingOrders, TickerBook
from app.decision.record import BatchInputs, DestinationInputs
from app.decision.risk import RiskCounts, RiskRules, start_of_day
from app.decision.what_if_record import RecordedSignal
from app.signals.book import Book, OrderTerms, Position, apply
from app.signals.reading import ENTRIES, Intent, Sentiment
from app.signals.statuses import Outcome

_EXITS = frozenset({Intent.CLOSE, Intent.REDUCE})


class DeliveredOrders(NamedTuple):
    """The orders of a signal that are delivered there, both ways; one that is made both ways ends as then."""

    then: OrderTerms | None
    now: OrderTerms | None

    @classmethod
    def of(
        cls, recorded: RecordedSignal, destination: str, then: OrderTerms | None, now: OrderTerms | None
    ) -> Self:
        """Return the orders of both ways, without those that were not delivered then."""
        is_delivered = destination in recorded.delivered_to or then is None
        return cls(then, now) if is_delivered else cls(None, None)


class DivergedBooks:
    """What a destination holds under the other rules, where that is not what is recorded.

    `open_before`: tickers of positions that were open there when the time begins.
    """

    def __init__(self, open_before: Iterable[str] = ()) -> None:
        self._branches: dict[str, _Branch] = {}
        self._opened_by_branches = 0  # positions that are open now and were not then, less the reverse
        self._open = set(open_before)  # the tickers that are open now
        self._day: datetime | None = None
        self._buys_then = self._buys_now = 0  # of this day
        self._exits: dict[str, datetime] = {}  # by ticker, the last one now
        self._other_exits: set[str] = set()  # tickers whose last exit was not the same then

    def is_held(self, ticker: str) -> bool:
        """Return whether the ticker is open there now and was not then."""
        branch = self._branches.get(ticker)
        return branch is not None and branch.position is not None

    def rejoin(self, books: Mapping[str, TickerBook]) -> None:
        """Use a recorded book again where both ways hold the same."""
        for ticker in books.keys() & self._branches.keys():
            recorded = PendingOrders(books[ticker]).book.projected
            if _holds_the_same(recorded, self._branches[ticker].position):
                self._opened_by_branches -= self._branches.pop(ticker).delta

    def assume(self, there: DestinationInputs, inputs: BatchInputs, rules: RiskRules) -> DestinationInputs:
        """Return what decides a batch there under other rules."""
        books = dict(there.books)
        for ticker in books.keys() & self._branches.keys():
            branch = self._branches[ticker]
            book = Book.of(branch.position, last_exit_sentiment=branch.last_exit)
            books[ticker] = TickerBook(book, (), is_complete=True)
        return there._replace(books=books, counts=self._counts(there, inputs, rules))

    def _counts(self, there: DestinationInputs, inputs: BatchInputs, rules: RiskRules) -> RiskCounts:
        """Return what the rules count: what was counted, and what differs; else what this run has seen."""
        before, tickers = inputs.risk_rules, there.books.keys()
        positions, buys_today, since_exit = there.counts
        if rules.max_open_positions is not None:
            if before.max_open_positions is not None:
                own = sum(self._branches[ticker].delta for ticker in tickers & self._branches.keys())
                positions += self._opened_by_branches - own
            else:
                positions = len(self._open - tickers)
        if rules.max_buys_per_day is not None:
            day = start_of_day(rules, inputs.now)
            if day != self._day:
                self._day, self._buys_then, self._buys_now = day, 0, 0
            is_counted = before.max_buys_per_day is not None
            buys_today = buys_today + self._buys_now - self._buys_then if is_counted else self._buys_now
        if rules.cooldown_seconds:
            since_exit = {
                ticker: seconds for ticker, seconds in since_exit.items() if ticker not in self._other_exits
            }
            is_longer = rules.cooldown_seconds > before.cooldown_seconds
            for ticker in tickers & self._exits.keys():
                if is_longer or ticker in self._other_exits:
                    seconds = (inputs.now - self._exits[ticker]).total_seconds()
                    since_exit[ticker] = min(seconds, since_exit.get(ticker, seconds))
        return RiskCounts(positions, buys_today, since_exit)

    def follow(
        self, books: Mapping[str, TickerBook], orders: Mapping[str, Sequence[DeliveredOrders]], at: datetime
    ) -> None:
        """Carry on the books of tickers that are decided otherwise, and what the rules count."""
        for ticker, of_ticker in orders.items():
            if ticker not in books:  # nothing of it is open there, and it takes none
                continue
            for delivered in of_ticker:
                self._buys_then += _intent(delivered.then) in ENTRIES
                self._buys_now += _intent(delivered.now) in ENTRIES
                self._note_exit(ticker, delivered, at)
            self._follow_ticker(ticker, books[ticker], of_ticker)

    def _note_exit(self, ticker: str, delivered: DeliveredOrders, at: datetime) -> None:
        is_exit_then, is_exit_now = _intent(delivered.then) in _EXITS, _intent(delivered.now) in _EXITS
        if is_exit_now:
            self._exits[ticker] = at
        if is_exit_then and is_exit_now:
            self._other_exits.discard(ticker)
        elif is_exit_then or is_exit_now:
            self._other_exits.add(ticker)

    def _follow_ticker(self, ticker: str, stored: TickerBook, orders: Sequence[DeliveredOrders]) -> None:
        branch = self._branches.get(ticker)
        book = PendingOrders(stored).book
        was: Position | None = book.projected
        is_now = branch.position if branch else was
        last_exit = branch.last_exit if branch else book.last_exit_sentiment
        for delivered in orders:
            if delivered.then is not None:
                was = apply(delivered.then, Outcome.DELIVERED, was)
            if delivered.now is not None:
                is_now = apply(delivered.now, Outcome.DELIVERED, is_now)
                if delivered.now.intent in _EXITS:
                    last_exit = delivered.now.sentiment
        if is_now is None:
            self._open.discard(ticker)
        else:
            self._open.add(ticker)
        if branch is not None:
            self._opened_by_branches -= self._branches.pop(ticker).delta
        if _holds_the_same(was, is_now):
            return
        branch = self._branches[ticker] = _Branch(is_now, last_exit, was is not None)
        self._opened_by_branches += branch.delta


class _Branch(NamedTuple):
    """What a ticker holds under the other rules, where that is not what is recorded."""

    position: Position | None
    last_exit: Sentiment | None
    was_open: bool

    @property
    def delta(self) -> int:
        return (self.position is not None) - self.was_open


def _holds_the_same(one: Position | None, other: Position | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.quantity, one.is_confirmed) == (other.quantity, other.is_confirmed)


def _intent(terms: OrderTerms | None) -> Intent | None:
    return None if terms is None else terms.intent
