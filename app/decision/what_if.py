"""What-if: decide recorded batches again under other rules, and compare with what was decided. Pure.

A ticker's recorded book counts until a decision about it differs. From then on its book follows the other
decisions, as if each order had been delivered at once, until both agree again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from app.decision.batch import ClaimedSignal, PendingOrders, TickerBook
from app.decision.record import BatchInputs, ListInForce
from app.decision.risk import RiskCounts, RiskRules, start_of_day
from app.decision.rules import Decision, ListFacts
from app.decision.what_if_record import (
    KeptLists,
    Moment,
    RecordedBatch,
    RecordedSignal,
    StoredDecision,
    decided_at,
    is_the_same_list,
    list_at,
)
from app.decision.what_if_results import MOST_DIFFERENCES, AlertTrades, Comparison, Difference, Verdict
from app.signals.book import Book, OrderTerms, Position, apply
from app.signals.reading import ENTRIES, Intent, Sentiment
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode
from app.signals.statuses import DecisionResult, Outcome, SignalType

if TYPE_CHECKING:
    from uuid import UUID

_EXITS = frozenset({Intent.CLOSE, Intent.REDUCE})
# Of a buy that was reprocessed then, and is no candidate under the other rules.
_SKIPPED = Decision(DecisionResult.REJECTED, Reason(RefusalCode.NOTHING_TO_APPROVE), {})


class Change(NamedTuple):
    """The rules to assume; None, and a name that is not in `risk`, stay as they were.

    `risk` are fields of `RiskRules`.
    """

    strategy: str | None = None
    top_n: int | None = None
    max_age_seconds: int | None = None
    risk: Mapping[str, Any] = {}

    def list_for(self, listed: ListInForce) -> ListInForce:
        """Return the list to ask, with its size and maximum age."""
        return listed._replace(
            strategy=self.strategy or listed.strategy,
            top_n=self.top_n or listed.top_n,
            max_age_seconds=self.max_age_seconds or listed.max_age_seconds,
        )


class WhatIf:
    """Decides recorded batches, in order of their time, both ways.

    It keeps the open positions of both ways and at most `MOST_DIFFERENCES` signals: the number of signals
    does not matter. `open_before`: tickers of positions that were open when the time begins. `render` gives a
    reason in words.
    """

    def __init__(
        self,
        change: Change,
        open_before: frozenset[str] = frozenset(),
        render: Callable[[Reason], str] = str,
    ) -> None:
        self.comparison = Comparison()
        self._render = render
        self._change = change
        self._then, self._now = AlertTrades(self.comparison.then), AlertTrades(self.comparison.now)
        self._branches: dict[str, _Branch] = {}
        self._opened_by_branches = 0  # positions that are open now and were not then, less the reverse
        self._open = set(open_before)  # the tickers that are open now
        self._day: datetime | None = None
        self._buys_then = self._buys_now = 0  # of this day
        self._exits: dict[str, datetime] = {}  # by ticker, the last one now
        self._other_exits: set[str] = set()  # tickers whose last exit was not the same then
        # by ticker, the newest buy that could be reprocessed then and cannot now
        self._decided_otherwise: dict[str, UUID] = {}

    def moments_of(self, batch: RecordedBatch) -> Iterator[Moment]:
        """Yield for which strategies and times the lists are needed."""
        listed = batch.inputs.listed
        wanted = self._change.list_for(listed)
        if wanted == listed:
            return
        received = {each.received_at for each in batch.signals if each.signal.type == SignalType.BUY}
        if received and is_the_same_list(wanted, listed):
            if listed.fetched_at is not None:
                yield wanted.strategy, listed.fetched_at
        elif received:
            on_arrival = received if batch.inputs.reprocessed is None else set[datetime]()
            yield from ((wanted.strategy, moment) for moment in {decided_at(batch.inputs), *on_arrival})

    def skip(self, signals: int) -> None:
        """Count signals that cannot be decided again."""
        self.comparison.removed += signals

    def step(self, batch: RecordedBatch, lists: Mapping[Moment, KeptLists]) -> None:
        """Decide a batch both ways."""
        inputs, found = batch.inputs, self.comparison
        then = inputs.decide()
        self._rejoin(inputs)
        other = self._assume(batch, lists)
        now = self._decide(other or inputs) if other or inputs.reprocessed else then
        for index, recorded in enumerate(batch.signals):
            self._compare(
                recorded,
                (then[index], inputs.signals[index].facts.rank),
                (now[index], (other or inputs).signals[index].facts.rank),
                batch.at,
            )
        self._follow(batch, then, now)
        found.then.open, found.now.open = len(self._then.held), len(self._now.held)

    def _compare(
        self,
        recorded: RecordedSignal,
        then: tuple[Decision, int | None],
        now: tuple[Decision, int | None],
        at: datetime,
    ) -> None:
        found, stored = self.comparison, recorded.decision
        (decided, rank), (assumed, rank_now) = then, now
        if stored is None:
            return
        found.decisions += 1
        found.reproduced += _is_same(decided, stored)
        found.then.count(stored.status)
        if assumed is not _SKIPPED:
            found.now.count(assumed.status)
        difference = None
        if (decided.status, _intent(decided.terms)) != (assumed.status, _intent(assumed.terms)):
            difference = Difference(
                *(recorded.signal.id, recorded.signal.ticker, at, recorded.signal.type, recorded.price),
                then=Verdict(stored.status, self._render(stored.reason), rank),
                now=Verdict(_status(assumed), self._render(assumed.reason), rank_now),
            )
            found.newly_approved += assumed.terms is not None and decided.terms is None
            found.no_longer_approved += assumed.terms is None and decided.terms is not None
            found.otherwise += (assumed.terms is None) == (decided.terms is None)
            if len(found.differences) < MOST_DIFFERENCES:
                found.differences.append(difference)
            else:
                difference = None
        delivered = _Delivered.of(recorded, decided, assumed)
        if delivered.then is not None:
            self._then.order(recorded, delivered.then, difference if assumed.terms is None else None)
        if delivered.now is not None:
            self._now.order(recorded, delivered.now, difference)

    def _decide(self, inputs: BatchInputs) -> list[Decision]:
        """Return the decisions under the other rules."""
        if inputs.reprocessed is None:
            return inputs.decide()
        candidates = [signal for signal in inputs.signals if self._is_candidate(signal)]
        again = inputs._replace(signals=candidates).decide()
        decisions = {signal.id: decision for signal, decision in zip(candidates, again, strict=True)}
        return [decisions.get(signal.id, _SKIPPED) for signal in inputs.signals]

    def _is_candidate(self, signal: ClaimedSignal) -> bool:
        """Return whether a buy that was reprocessed then would be now: listed, rejected, nothing open."""
        branch = self._branches.get(signal.ticker)
        return (
            signal.facts.rank is not None
            and not signal.is_expired
            and (branch is None or branch.position is None)
            and self._decided_otherwise.get(signal.ticker) != signal.id
        )

    def _assume(self, batch: RecordedBatch, lists: Mapping[Moment, KeptLists]) -> BatchInputs | None:
        """Return what the batch is decided by under the other rules; None: by the same as it was."""
        inputs = batch.inputs
        signals = self._signals(batch, lists)
        rules = replace(inputs.risk_rules, **self._change.risk) if self._change.risk else inputs.risk_rules
        books = dict(inputs.books)
        for ticker in books.keys() & self._branches.keys():
            branch = self._branches[ticker]
            book = Book.of(branch.position, last_exit_sentiment=branch.last_exit)
            books[ticker] = TickerBook(book, (), is_complete=True)
        counts = self._counts(inputs, rules)
        other = inputs._replace(signals=signals, books=books, risk_rules=rules, counts=counts)
        return None if other == inputs else other

    def _signals(self, batch: RecordedBatch, lists: Mapping[Moment, KeptLists]) -> Sequence[ClaimedSignal]:
        inputs = batch.inputs
        wanted = self._change.list_for(inputs.listed)
        if wanted == inputs.listed:
            return inputs.signals
        return [
            self._listed(signal, recorded, batch, wanted, lists) if signal.type == SignalType.BUY else signal
            for signal, recorded in zip(inputs.signals, batch.signals, strict=True)
        ]

    def _listed(
        self,
        signal: ClaimedSignal,
        recorded: RecordedSignal,
        batch: RecordedBatch,
        wanted: ListInForce,
        lists: Mapping[Moment, KeptLists],
    ) -> ClaimedSignal:
        """Return a buy with what the wanted list says of it, when that list is fresh."""
        kept, moment = list_at(recorded, batch.inputs, wanted, lists)
        if kept is None and moment is not None:
            return signal._replace(is_expired=True)  # no list became fresh in time
        if kept is None or moment is None:
            return self._gap(signal, batch.at, is_shallow=False)
        top_n = wanted.top_n or len(kept.tickers)
        size = min(top_n, len(kept.tickers)) if kept.is_whole else top_n
        age = max(0.0, (moment - kept.at).total_seconds())
        rank: int | None
        try:
            rank = kept.tickers[:top_n].index(signal.ticker) + 1
        except ValueError:
            if top_n > len(kept.tickers) and not kept.is_whole:
                return self._gap(signal, batch.at, is_shallow=True)
            rank = None
        is_expired = signal.is_expired and moment >= decided_at(batch.inputs)
        return signal._replace(facts=ListFacts(rank, size, age), is_expired=is_expired)

    def _gap(self, signal: ClaimedSignal, at: datetime, *, is_shallow: bool) -> ClaimedSignal:
        gaps = self.comparison.gaps
        gaps.too_shallow += is_shallow
        gaps.no_list += not is_shallow
        gaps.first = gaps.first or at
        gaps.last = at
        return signal

    def _counts(self, inputs: BatchInputs, rules: RiskRules) -> RiskCounts:
        """Return what the rules count: what was counted, and what differs; else what this run has seen."""
        before, counts = inputs.risk_rules, inputs.counts
        positions, buys_today, since_exit = counts
        if rules.max_open_positions is not None:
            if before.max_open_positions is not None:
                own = sum(self._branches[ticker].delta for ticker in inputs.books if ticker in self._branches)
                positions += self._opened_by_branches - own
            else:
                positions = len(self._open - inputs.books.keys())
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
            for ticker in inputs.books.keys() & self._exits.keys():
                if is_longer or ticker in self._other_exits:
                    seconds = (inputs.now - self._exits[ticker]).total_seconds()
                    since_exit[ticker] = min(seconds, since_exit.get(ticker, seconds))
        return RiskCounts(positions, buys_today, since_exit)

    def _rejoin(self, inputs: BatchInputs) -> None:
        """Use the recorded book again where both ways hold the same."""
        for ticker in inputs.books.keys() & self._branches.keys():
            recorded = PendingOrders(inputs.books[ticker]).book.projected
            if _holds_the_same(recorded, self._branches[ticker].position):
                self._opened_by_branches -= self._branches.pop(ticker).delta

    def _follow(self, batch: RecordedBatch, then: Sequence[Decision], now: Sequence[Decision]) -> None:
        """Carry on the books of tickers that are decided otherwise, and what the rules count."""
        inputs = batch.inputs
        by_ticker: dict[str, list[_Delivered]] = {}
        for recorded, was, is_now in zip(batch.signals, then, now, strict=True):
            ticker, delivered = recorded.signal.ticker, _Delivered.of(recorded, was, is_now)
            by_ticker.setdefault(ticker, []).append(delivered)
            self._buys_then += _intent(delivered.then) in ENTRIES
            self._buys_now += _intent(delivered.now) in ENTRIES
            self._note_exit(ticker, delivered, inputs.now)
            if inputs.reprocessed is None and was.reason.code is ReasonCode.NOT_LISTED:
                if is_now.reason.code is ReasonCode.NOT_LISTED:
                    self._decided_otherwise.pop(ticker, None)
                else:
                    self._decided_otherwise[ticker] = recorded.signal.id
        for ticker, orders in by_ticker.items():
            self._follow_ticker(ticker, inputs.books[ticker], orders)

    def _note_exit(self, ticker: str, delivered: "_Delivered", at: datetime) -> None:
        is_exit_then, is_exit_now = _intent(delivered.then) in _EXITS, _intent(delivered.now) in _EXITS
        if is_exit_now:
            self._exits[ticker] = at
        if is_exit_then and is_exit_now:
            self._other_exits.discard(ticker)
        elif is_exit_then or is_exit_now:
            self._other_exits.add(ticker)

    def _follow_ticker(self, ticker: str, stored: TickerBook, orders: Sequence["_Delivered"]) -> None:
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


class _Delivered(NamedTuple):
    """The orders of a signal that are delivered, both ways; an order that is made both ways ends as then."""

    then: OrderTerms | None
    now: OrderTerms | None

    @classmethod
    def of(cls, recorded: RecordedSignal, decided: Decision, assumed: Decision) -> Self:
        is_delivered = recorded.was_delivered or decided.terms is None
        return cls(*(each.terms if is_delivered else None for each in (decided, assumed)))


class _Branch(NamedTuple):
    """What a ticker holds under the other rules, where that is not what is recorded."""

    position: Position | None
    last_exit: Sentiment | None
    was_open: bool

    @property
    def delta(self) -> int:
        return (self.position is not None) - self.was_open


def _is_same(decision: Decision, stored: StoredDecision) -> bool:
    return tuple(stored) == (decision.status, decision.reason, decision.detail)


def _holds_the_same(one: Position | None, other: Position | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.quantity, one.is_confirmed) == (other.quantity, other.is_confirmed)


def _intent(terms: OrderTerms | None) -> Intent | None:
    return None if terms is None else terms.intent


def _status(decision: Decision) -> str:
    return "skipped" if decision is _SKIPPED else decision.status
