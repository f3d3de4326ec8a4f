"""What-if: decide recorded batches again under other rules, and compare with what was decided. Pure.

A ticker's recorded book at a destination counts until a decision about it differs. From then on its book
follows the other decisions, as if each order had been delivered at once, until both agree again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from app.decision.batch import ClaimedSignal
from app.decision.destinations import Decided, NewOrder
from app.decision.record import BatchInputs, ListInForce
from app.decision.rules import Decision, ListFacts
from app.decision.what_if_books import DeliveredOrders, DivergedBooks
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
from app.signals.book import OrderTerms
from app.signals.reading import Intent
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode
from app.signals.statuses import DecisionResult, SignalType

if TYPE_CHECKING:
    from uuid import UUID

_Orders = dict[str, OrderTerms]  # of a signal, by destination
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
    does not matter. `open_before`: destinations and tickers of positions that were open when the time begins.
    `render` gives a reason in words.
    """

    def __init__(
        self,
        change: Change,
        open_before: frozenset[tuple[str, str]] = frozenset(),
        render: Callable[[Reason], str] = str,
    ) -> None:
        self.comparison = Comparison()
        self._render = render
        self._change = change
        self._then, self._now = AlertTrades(self.comparison.then), AlertTrades(self.comparison.now)
        self._books: dict[str, DivergedBooks] = {}  # by destination
        self._open_before = open_before
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
        for there in inputs.destinations:
            self._at(there.name).rejoin(there.books)
        other = self._assume(batch, lists)
        now = self._decide(other or inputs) if other or inputs.reprocessed else then
        orders = [_orders(made) for made in then.orders], [_orders(made) for made in now.orders]
        for index, recorded in enumerate(batch.signals):
            self._compare(
                recorded,
                _Way(then.decisions[index], orders[0][index], inputs.signals[index].facts.rank),
                _Way(now.decisions[index], orders[1][index], (other or inputs).signals[index].facts.rank),
                batch.at,
            )
        self._follow(batch, then.decisions, now.decisions, orders)
        found.then.open, found.now.open = len(self._then.held), len(self._now.held)

    def _at(self, destination: str) -> DivergedBooks:
        """Return what differs at a destination."""
        if destination not in self._books:
            before = (ticker for name, ticker in self._open_before if name == destination)
            self._books[destination] = DivergedBooks(before)
        return self._books[destination]

    def _compare(self, recorded: RecordedSignal, then: "_Way", now: "_Way", at: datetime) -> None:
        found, stored = self.comparison, recorded.decision
        if stored is None:
            return
        found.decisions += 1
        found.reproduced += _is_same(then.decision, stored)
        found.then.count(stored.status)
        if now.decision is not _SKIPPED:
            found.now.count(now.decision.status)
        difference = None
        if then.verdict != now.verdict:
            difference = Difference(
                *(recorded.signal.id, recorded.signal.ticker, at, recorded.signal.type, recorded.price),
                then=Verdict(stored.status, self._render(stored.reason), then.rank),
                now=Verdict(_status(now.decision), self._render(now.decision.reason), now.rank),
            )
            found.newly_approved += bool(now.orders) and not then.orders
            found.no_longer_approved += bool(then.orders) and not now.orders
            found.otherwise += bool(now.orders) == bool(then.orders)
            if len(found.differences) < MOST_DIFFERENCES:
                found.differences.append(difference)
            else:
                difference = None
        self._trade(recorded, then, now, difference)

    def _trade(
        self, recorded: RecordedSignal, then: "_Way", now: "_Way", difference: Difference | None
    ) -> None:
        """Apply the delivered orders; the first destination's position gives the result of a difference."""
        of_then = difference if not now.orders else None
        for name in then.orders | now.orders:
            delivered = DeliveredOrders.of(recorded, name, then.orders.get(name), now.orders.get(name))
            if delivered.then is not None:
                self._then.order(recorded, name, delivered.then, of_then)
                of_then = None
            if delivered.now is not None:
                self._now.order(recorded, name, delivered.now, difference)
                difference = None

    def _decide(self, inputs: BatchInputs) -> Decided:
        """Return the decisions under the other rules."""
        if inputs.reprocessed is None:
            return inputs.decide()
        numbered = list(enumerate(inputs.signals))
        taken = {
            there.name: frozenset(
                index
                for index, signal in numbered
                if there.takes(index) and self._is_candidate(signal, there.name)
            )
            for there in inputs.destinations
        }
        destinations = [there._replace(taken=taken[there.name]) for there in inputs.destinations]
        decided = inputs._replace(destinations=destinations).decide()
        candidates = frozenset[int]().union(*taken.values())
        decisions = [
            decision if index in candidates else _SKIPPED for index, decision in enumerate(decided.decisions)
        ]
        return decided._replace(decisions=decisions)

    def _is_candidate(self, signal: ClaimedSignal, destination: str) -> bool:
        """Return whether a buy that was reprocessed then would be now: listed, rejected, nothing open."""
        return (
            signal.facts.rank is not None
            and not signal.is_expired
            and not self._at(destination).is_held(signal.ticker)
            and self._decided_otherwise.get(signal.ticker) != signal.id
        )

    def _assume(self, batch: RecordedBatch, lists: Mapping[Moment, KeptLists]) -> BatchInputs | None:
        """Return what the batch is decided by under the other rules; None: by the same as it was."""
        inputs = batch.inputs
        signals = self._signals(batch, lists)
        rules = replace(inputs.risk_rules, **self._change.risk) if self._change.risk else inputs.risk_rules
        destinations = [self._at(there.name).assume(there, inputs, rules) for there in inputs.destinations]
        other = inputs._replace(signals=signals, destinations=destinations, risk_rules=rules)
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

    def _follow(
        self,
        batch: RecordedBatch,
        then: Sequence[Decision],
        now: Sequence[Decision],
        orders: tuple[Sequence[_Orders], Sequence[_Orders]],
    ) -> None:
        """Carry on the books of each destination, and which buys are decided otherwise."""
        inputs = batch.inputs
        for there in inputs.destinations:
            by_ticker: dict[str, list[DeliveredOrders]] = {}
            for recorded, was, is_now in zip(batch.signals, *orders, strict=True):
                name = there.name
                delivered = DeliveredOrders.of(recorded, name, was.get(name), is_now.get(name))
                by_ticker.setdefault(recorded.signal.ticker, []).append(delivered)
            self._at(there.name).follow(there.books, by_ticker, inputs.now)
        if inputs.reprocessed is not None:
            return
        for recorded, before, after in zip(batch.signals, then, now, strict=True):
            if before.reason.code is not ReasonCode.NOT_LISTED:
                continue
            if after.reason.code is ReasonCode.NOT_LISTED:
                self._decided_otherwise.pop(recorded.signal.ticker, None)
            else:
                self._decided_otherwise[recorded.signal.ticker] = recorded.signal.id


class _Way(NamedTuple):
    """How a signal is decided one way; `rank` is that of its ticker."""

    decision: Decision
    orders: _Orders
    rank: int | None

    @property
    def verdict(self) -> tuple[DecisionResult, dict[str, Intent]]:
        """What has to differ for the decision to be another one."""
        return self.decision.status, {name: terms.intent for name, terms in self.orders.items()}


def _orders(made: Sequence[NewOrder]) -> _Orders:
    return {order.destination: order.terms for order in made}


def _is_same(decision: Decision, stored: StoredDecision) -> bool:
    return tuple(stored) == (decision.status, decision.reason, decision.detail)


def _status(decision: Decision) -> str:
    return "skipped" if decision is _SKIPPED else decision.status
