"""What-if: decide recorded batches again under other rules, and compare with what was decided. Pure.

A ticker's recorded book counts until a decision about it differs. From then on its book follows the other
decisions, as if each order had been delivered at once, until both agree again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Any, NamedTuple
from uuid import UUID

from app.decision.batch import ClaimedSignal, PendingOrders, TickerBook
from app.decision.record import BatchInputs, ListInForce
from app.decision.risk import RiskCounts, RiskRules, start_of_day
from app.decision.rules import Decision, ListFacts
from app.signals.book import Book, OrderTerms, Position, apply, realized_by_close
from app.signals.reading import ENTRIES, Intent, Sentiment
from app.signals.reasons import Reason
from app.signals.statuses import DecisionResult, Outcome, SignalType

MOST_DIFFERENCES = 500  # that are listed; all of them are counted

_EXACT = Context(prec=400)
_EXITS = frozenset({Intent.CLOSE, Intent.REDUCE})


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


class KeptList(NamedTuple):
    """A list as a refresh found it. `tickers` are folded, also those below the Top-N.

    `max_age_seconds` None: it never becomes stale. `is_whole`: the source had no more.
    """

    at: datetime
    max_age_seconds: int | None
    tickers: Sequence[str]
    is_whole: bool


class KeptLists(NamedTuple):
    """The list of a strategy at a moment, and the next one after it; None: none is kept."""

    current: KeptList | None = None
    following: KeptList | None = None


Moment = tuple[str, datetime]
"""A strategy and a time."""


class StoredDecision(NamedTuple):
    """What was decided, as it is stored."""

    status: str
    reason: Reason
    detail: dict[str, Any]


class RecordedSignal(NamedTuple):
    """A signal of a recorded batch. `decision` None: it had ended before its decision was stored."""

    signal: ClaimedSignal
    received_at: datetime
    expires_at: datetime
    price: Decimal | None
    decision: StoredDecision | None
    was_delivered: bool


class RecordedBatch(NamedTuple):
    """A batch with everything that decided it; `signals` in the order of `inputs.signals`."""

    at: datetime
    inputs: BatchInputs
    signals: Sequence[RecordedSignal]


@dataclass(slots=True)
class Verdict:
    """A decision: its status, the reason, and the rank of the ticker, null if it is not listed."""

    status: str
    reason: str
    rank: int | None


@dataclass(slots=True)
class Difference:
    """A signal that is decided otherwise.

    `result` is what came of the position that it opened or added to where it is approved, by the prices of
    alerts; null while that is open or unknown.
    """

    signal_id: UUID
    ticker: str
    at: datetime
    type: str
    price: Decimal | None
    then: Verdict
    now: Verdict
    result: Decimal | None = None


@dataclass(slots=True)
class Side:
    """What was, or would be, decided, and what it came to by the prices of alerts, not by fills.

    Trades are positions that alerts opened and closed in this time. `unknown` counts those without a known
    result; `result` adds up the others.
    """

    approved: int = 0
    rejected: int = 0
    expired: int = 0
    trades: int = 0
    gains: int = 0
    losses: int = 0
    unknown: int = 0
    open: int = 0
    result: Decimal | None = None


@dataclass(slots=True)
class ListGaps:
    """Buys whose decision is assumed to stay as it was, because the list they need is not kept.

    `too_shallow`: fewer tickers were stored than the Top-N asks for. `no_list`: none of the strategy. `first`
    and `last` are the times of such decisions.
    """

    too_shallow: int = 0
    no_list: int = 0
    first: datetime | None = None
    last: datetime | None = None


@dataclass(slots=True)
class Comparison:
    """Both ways. `reproduced` counts decisions that the rules of then give again: normally all `decisions`.

    `removed` counts signals that cannot be decided again: they, or others of their batch, are removed.
    """

    decisions: int = 0
    reproduced: int = 0
    removed: int = 0
    then: Side = field(default_factory=Side)
    now: Side = field(default_factory=Side)
    newly_approved: int = 0
    no_longer_approved: int = 0
    otherwise: int = 0
    differences: list[Difference] = field(default_factory=list)
    gaps: ListGaps = field(default_factory=ListGaps)


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
        self._then, self._now = _World(self.comparison.then), _World(self.comparison.now)
        self._branches: dict[str, _Branch] = {}
        self._opened_by_branches = 0  # positions that are open now and were not then, less the reverse
        self._open = set(open_before)  # the tickers that are open now
        self._day: datetime | None = None
        self._buys_then = self._buys_now = 0  # of this day
        self._exits: dict[str, datetime] = {}

    def moments_of(self, batch: RecordedBatch) -> Iterator[Moment]:
        """Yield for which strategies and times the lists are needed."""
        listed = batch.inputs.listed
        wanted = self._change.list_for(listed)
        if wanted == listed:
            return
        received = {each.received_at for each in batch.signals if each.signal.type == SignalType.BUY}
        if received and _is_the_same_list(wanted, listed):
            if listed.fetched_at is not None:
                yield wanted.strategy, listed.fetched_at
        elif received:
            yield from ((wanted.strategy, moment) for moment in {_decided_at(batch.inputs), *received})

    def skip(self, signals: int) -> None:
        """Count signals that cannot be decided again."""
        self.comparison.removed += signals

    def step(self, batch: RecordedBatch, lists: Mapping[Moment, KeptLists]) -> None:
        """Decide a batch both ways."""
        inputs, found = batch.inputs, self.comparison
        then = inputs.decide()
        self._rejoin(inputs)
        other = self._assume(batch, lists)
        now = then if other is None else other.decide()
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
        _count(found.then, stored.status)
        _count(found.now, assumed.status)
        difference = None
        if (decided.status, _intent(decided)) != (assumed.status, _intent(assumed)):
            difference = Difference(
                *(recorded.signal.id, recorded.signal.ticker, at, recorded.signal.type, recorded.price),
                then=Verdict(stored.status, self._render(stored.reason), rank),
                now=Verdict(assumed.status, self._render(assumed.reason), rank_now),
            )
            found.newly_approved += assumed.terms is not None and decided.terms is None
            found.no_longer_approved += assumed.terms is None and decided.terms is not None
            found.otherwise += (assumed.terms is None) == (decided.terms is None)
            if len(found.differences) < MOST_DIFFERENCES:
                found.differences.append(difference)
        if decided.terms is not None and recorded.was_delivered:
            self._then.order(recorded, decided.terms, difference if assumed.terms is None else None)
        if assumed.terms is not None and (recorded.was_delivered or decided.terms is None):
            self._now.order(recorded, assumed.terms, difference)

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
        kept, moment = _list_at(recorded, batch.inputs, wanted, lists)
        if kept is None and moment is not None:
            return signal._replace(is_expired=True)  # no list became fresh in time
        if kept is None or moment is None:
            return self._gap(signal, batch.at, is_shallow=False)
        top_n = wanted.top_n or len(kept.tickers)
        size = min(top_n, len(kept.tickers)) if kept.is_whole else top_n
        age = max(0.0, (moment - kept.at).total_seconds())
        try:
            rank = kept.tickers[:top_n].index(signal.ticker) + 1
        except ValueError:
            if top_n > len(kept.tickers) and not kept.is_whole:
                return self._gap(signal, batch.at, is_shallow=True)
            return signal._replace(facts=ListFacts(None, size, age), is_expired=False)
        return signal._replace(facts=ListFacts(rank, size, age), is_expired=False)

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
            is_longer = rules.cooldown_seconds > before.cooldown_seconds
            own_exits = {
                ticker: (inputs.now - self._exits[ticker]).total_seconds()
                for ticker in inputs.books
                if ticker in self._exits and (is_longer or ticker in self._branches)
            }
            recorded = {
                ticker: seconds for ticker, seconds in since_exit.items() if ticker not in self._branches
            }
            since_exit = recorded | {
                ticker: min(seconds, recorded.get(ticker, seconds)) for ticker, seconds in own_exits.items()
            }
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
        by_ticker: dict[str, list[tuple[Decision, Decision]]] = {}
        for signal, was, is_now in zip(inputs.signals, then, now, strict=True):
            by_ticker.setdefault(signal.ticker, []).append((was, is_now))
            self._buys_then += _intent(was) in ENTRIES
            self._buys_now += _intent(is_now) in ENTRIES
            if self._change.risk and _intent(is_now) in _EXITS:
                self._exits[signal.ticker] = inputs.now
        for ticker, decisions in by_ticker.items():
            self._follow_ticker(ticker, inputs.books[ticker], decisions)

    def _follow_ticker(
        self, ticker: str, stored: TickerBook, decisions: Sequence[tuple[Decision, Decision]]
    ) -> None:
        branch = self._branches.get(ticker)
        book = PendingOrders(stored).book
        was: Position | None = book.projected
        is_now = branch.position if branch else was
        last_exit = branch.last_exit if branch else book.last_exit_sentiment
        for before, after in decisions:
            if before.terms is not None:
                was = apply(before.terms, Outcome.DELIVERED, was)
            if after.terms is not None:
                is_now = apply(after.terms, Outcome.DELIVERED, is_now)
                if after.terms.intent in _EXITS:
                    last_exit = after.terms.sentiment
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


@dataclass(slots=True)
class _Held:
    position: Position
    differences: list[Difference]


class _World:
    """The positions that alerts open and close one way, and what they come to."""

    def __init__(self, side: Side) -> None:
        self.held: dict[str, _Held] = {}
        self._side = side

    def order(self, recorded: RecordedSignal, terms: OrderTerms, difference: Difference | None) -> None:
        """Apply an order of a signal at the alert's price."""
        ticker, terms = recorded.signal.ticker, terms._replace(price=recorded.price)
        held = self.held.get(ticker)
        before = held.position if held else None
        after = apply(terms, Outcome.DELIVERED, before)
        if after is not None:
            if held is None:
                held = self.held[ticker] = _Held(after, [])
            held.position = after
            if (
                difference is not None
                and terms.intent in ENTRIES
                and len(held.differences) < MOST_DIFFERENCES
            ):
                held.differences.append(difference)
        elif held is not None:
            del self.held[ticker]
            self._close(held, realized_by_close(terms, held.position))

    def _close(self, held: _Held, result: Decimal | None) -> None:
        side = self._side
        side.trades += 1
        for difference in held.differences:
            difference.result = result
        if result is None:
            side.unknown += 1
            return
        side.gains += result > 0
        side.losses += result < 0
        side.result = result if side.result is None else _EXACT.add(side.result, result)


def _list_at(
    recorded: RecordedSignal,
    inputs: BatchInputs,
    wanted: ListInForce,
    lists: Mapping[Moment, KeptLists],
) -> tuple[KeptList | None, datetime | None]:
    """Return the list that decides a buy, and when. `(None, time)`: none in time. Neither: not kept."""
    listed = inputs.listed
    if _is_the_same_list(wanted, listed):
        fetched_at = listed.fetched_at
        kept = None if fetched_at is None else lists[wanted.strategy, fetched_at].current
        is_that_list = kept is not None and kept.at == fetched_at
        return (kept, inputs.now) if is_that_list else (None, None)
    on_arrival = lists[wanted.strategy, recorded.received_at].current
    if (
        on_arrival is not None
        and _is_fresh(on_arrival, recorded.received_at, wanted.max_age_seconds)
        and not _is_fresh(on_arrival, recorded.received_at, listed.max_age_seconds)
    ):
        return on_arrival, recorded.received_at  # it waited then, and does not now
    decided_at = _decided_at(inputs)
    current, following = lists[wanted.strategy, decided_at]
    if current is None:
        return None, None
    if wanted.is_frozen or _is_fresh(current, decided_at, wanted.max_age_seconds):
        return current, decided_at
    if following is not None and following.at < recorded.expires_at:
        return following, following.at
    return None, decided_at


def _decided_at(inputs: BatchInputs) -> datetime:
    """Return the time of a batch, which the application estimates: not before the list that it used."""
    return max(inputs.now, inputs.listed.fetched_at or inputs.now)


def _is_the_same_list(wanted: ListInForce, listed: ListInForce) -> bool:
    """Return whether only the size of the list differs: the list of then decides, at the same time."""
    return (wanted.strategy, wanted.max_age_seconds) == (listed.strategy, listed.max_age_seconds)


def _is_fresh(kept: KeptList, moment: datetime, max_age_seconds: int | None) -> bool:
    if kept.max_age_seconds is None or max_age_seconds is None:
        return True
    return kept.at > moment - timedelta(seconds=max_age_seconds)


def _is_same(decision: Decision, stored: StoredDecision) -> bool:
    return tuple(stored) == (decision.status, decision.reason, decision.detail)


def _holds_the_same(one: Position | None, other: Position | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.quantity, one.is_confirmed) == (other.quantity, other.is_confirmed)


def _intent(decision: Decision) -> Intent | None:
    return None if decision.terms is None else decision.terms.intent


def _count(side: Side, status: str) -> None:
    side.approved += status == DecisionResult.APPROVED
    side.rejected += status == DecisionResult.REJECTED
    side.expired += status == DecisionResult.EXPIRED
