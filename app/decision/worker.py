"""The decision workers: claim received signals in order, apply the rule, store decision and reason."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import compress
from typing import NamedTuple
from uuid import UUID

import structlog

from app import metrics
from app.context import AppContext
from app.decision import repository
from app.decision.repository import Claim, ClaimedSignal, TickerBook, UnfinishedOrder
from app.decision.risk import RiskBook
from app.decision.risk_facts import read_risk_book, rules_of
from app.decision.rules import OVERTAKEN, Decision, decide
from app.orders.destination import destination_of
from app.orders.outcomes import end_overtaken
from app.orders.repository import lock_approvals_shared
from app.signals.alert import read_order
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, is_overtaken
from app.signals.reading import ENTRIES, Intent
from app.signals.statuses import DecisionResult, SignalType

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
_BEAT_SECONDS = 10.0
# A single signal is decided at once. In a stream of signals a commit for each costs more than all other work:
# signals that arrive within this time after the start of a batch are decided in the next batch.
_BATCH_INTERVAL_SECONDS = 0.008
# While all signals in the queue wait for a fresh list, a worker searches the queue at most 10 % of the time.
_COST_FACTOR = 10
_BATCH_SIGNALS = 500
# While another process decides entries under a limit.
_RETRY_SECONDS = 0.02


class Batch(NamedTuple):
    """How many signals a batch has decided.

    `has_exits_waiting`: exits of the same tickers are undecided. `is_blocked`: another process decides
    entries now.
    """

    decided: int
    has_exits_waiting: bool = False
    is_blocked: bool = False


def start(context: AppContext) -> None:
    """Start `WORKER_CONCURRENCY` workers, `decision-1` …, and one for entries, under the supervisor."""
    turn = asyncio.Lock()
    context.supervisor.start("decision-entries", partial(run_entries, context, "decision-entries"))
    for number in range(1, context.settings.worker_concurrency + 1):
        name = f"decision-{number}"
        context.supervisor.start(name, partial(run, context, turn, name))


async def run(context: AppContext, turn: asyncio.Lock, name: str) -> None:
    """Decide signals as they arrive; only exits while a rule counts, see `run_entries`.

    The workers of a process take turns: a batch decides up to 500 signals in one commit, and concurrent
    workers would only split it. Row locks keep other processes apart.
    """
    while True:
        context.supervisor.beat(name)
        try:
            async with asyncio.timeout(_BEAT_SECONDS):
                await turn.acquire()
        except TimeoutError:
            continue
        try:
            await context.wakeups.wait("received", POLL_SECONDS, reader=turn)
            await _decide_all(context, name, Claim.EXITS if _needs_counts(context) else Claim.ALL)
        finally:
            turn.release()


async def run_entries(context: AppContext, name: str) -> None:
    """Decide entries as they arrive while a rule counts what is stored.

    Exits are then decided by `run`, in transactions of their own: none waits for a count or for its lock.
    """
    while True:
        context.supervisor.beat(name)
        await context.wakeups.wait("entries", POLL_SECONDS)
        if _needs_counts(context):
            await _decide_all(context, name, Claim.ENTRIES)


def _needs_counts(context: AppContext) -> bool:
    return rules_of(context.config.system.risk).needs_counts


async def _decide_all(context: AppContext, name: str, claim: Claim) -> None:
    started = time.monotonic()
    while (batch := await decide_batch(context, claim)).decided == _BATCH_SIGNALS or batch.is_blocked:
        context.supervisor.beat(name)
        if batch.is_blocked:
            await asyncio.sleep(_RETRY_SECONDS)
    if claim is Claim.EXITS:
        context.wakeups.notify("entries")
    if batch.has_exits_waiting:
        context.wakeups.notify("received")
    cost = time.monotonic() - started
    # Entries wake this worker where it decides exits alone: an exit that comes next does not wait for long.
    factor = 1 if claim is Claim.EXITS else _COST_FACTOR
    await asyncio.sleep(_BATCH_INTERVAL_SECONDS - cost if batch.decided else min(factor * cost, POLL_SECONDS))


async def decide_batch(context: AppContext, claim: Claim) -> Batch:
    """Decide the front of the queue in one transaction."""
    config = context.config
    risk_rules = rules_of(config.system.risk)
    async with context.pool.acquire() as connection, connection.transaction():
        # Limits hold across processes: what one approves, the next one counts. Exits never ask for this lock.
        if (
            claim is Claim.ENTRIES
            and risk_rules.has_limits
            and not await repository.try_lock_entry_limits(connection)
        ):
            return Batch(0, is_blocked=True)
        await lock_approvals_shared(connection)
        signals, books, has_exits_waiting = await repository.claim_signals(
            connection,
            claim=claim,
            limit=_BATCH_SIGNALS,
            strategy=config.finviz.active_strategy.name,
            is_frozen=config.system.engine_paused,
        )
        if not signals:
            return Batch(0)
        risk = await read_risk_book(
            connection,
            risk_rules,
            now=context.clock.now(),
            destination=destination_of(config.webhook.url).key,
            books=(
                {ticker: _PendingOrders(book).book for ticker, book in books.items()}
                if risk_rules.needs_counts
                else {}
            ),
            has_entries=any(signal.type == SignalType.BUY for signal in signals),
        )
        decisions, overtaken, exits = decide_in_order(signals, books, config.system.book_rules, risk)
        counts = await repository.store_decisions(connection, signals=signals, decisions=decisions)
        if exits:
            overtaken += await repository.find_entries_before(connection, exits=exits)
        await end_overtaken(connection, overtaken)
    context.queues.count_decided(len(signals))
    for status, count in counts.items():
        metrics.SIGNALS_DECIDED.labels(status).inc(count)
    for signal, decision in zip(signals, decisions, strict=True):
        log.info(
            "decided",
            signal_id=signal.id,
            ticker=signal.ticker,
            status=decision.status,
            reason=str(decision.reason),
        )
    if any(decision.status == DecisionResult.APPROVED for decision in decisions):
        context.wakeups.notify("approved")
    context.wakeups.notify("changed")
    return Batch(len(signals), has_exits_waiting=has_exits_waiting)


def decide_in_order(
    signals: Sequence[ClaimedSignal],
    books: Mapping[str, TickerBook],
    rules: BookRules,
    risk: RiskBook,
) -> tuple[list[Decision], list[UUID], dict[str, int]]:
    """Apply the rule in order: what is approved here is pending for the later signals of its ticker. Pure.

    Return the decisions, the earlier entries of other batches that an exit has overtaken, and the `seq` of
    such an exit by ticker where its book does not have all of them.
    """
    tickers = {ticker: _PendingOrders(book) for ticker, book in books.items()}
    decisions: dict[UUID, Decision] = {}
    overtaken: list[UUID] = []
    exits: dict[str, int] = {}
    for signal in signals:
        pending = tickers[signal.ticker]
        reading = read_order(signal.body, signal.type)
        decision = decide(
            signal.type,
            reading,
            pending.book_before(signal.seq),
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
    return [decisions[signal.id] for signal in signals], overtaken, exits


class _PendingOrders:
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
