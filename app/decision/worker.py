"""The decision workers: claim received signals in order, apply the rule, store decision and reason."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import compress
from uuid import UUID

import structlog

from app import metrics
from app.context import AppContext
from app.decision import repository
from app.decision.repository import ClaimedSignal, TickerBook, UnfinishedOrder
from app.decision.rules import OVERTAKEN, Decision, decide
from app.orders.outcomes import end_overtaken
from app.orders.repository import lock_approvals_shared
from app.signals.alert import read_order
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, is_overtaken
from app.signals.reading import Intent
from app.signals.statuses import DecisionResult

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
_BEAT_SECONDS = 10.0
# A single signal is decided at once. In a stream of signals a commit for each costs more than all other work:
# signals that arrive within this time after the start of a batch are decided in the next batch.
_BATCH_INTERVAL_SECONDS = 0.008
# While all signals in the queue wait for a fresh list, a worker searches the queue at most 10 % of the time.
_COST_FACTOR = 10
_BATCH_SIGNALS = 500


def start(context: AppContext) -> None:
    """Start `WORKER_CONCURRENCY` workers, `decision-1` …, under the process's supervisor."""
    turn = asyncio.Lock()
    for number in range(1, context.settings.worker_concurrency + 1):
        name = f"decision-{number}"
        context.supervisor.start(name, partial(run, context, turn, name))


async def run(context: AppContext, turn: asyncio.Lock, name: str) -> None:
    """Decide signals as they arrive.

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
            started = time.monotonic()
            while (decided := await decide_batch(context)) == _BATCH_SIGNALS:
                context.supervisor.beat(name)
            cost = time.monotonic() - started
            await asyncio.sleep(
                _BATCH_INTERVAL_SECONDS - cost if decided else min(_COST_FACTOR * cost, POLL_SECONDS)
            )
        finally:
            turn.release()


async def decide_batch(context: AppContext) -> int:
    """Decide the front of the queue in one transaction; return the number of signals claimed for it."""
    config = context.config
    async with context.pool.acquire() as connection, connection.transaction():
        await lock_approvals_shared(connection)
        signals, books = await repository.claim_signals(
            connection,
            limit=_BATCH_SIGNALS,
            strategy=config.finviz.active_strategy.name,
            is_frozen=config.system.engine_paused,
        )
        if not signals:
            return 0
        decisions, overtaken, exits = _decide_in_order(signals, books, config.system.book_rules)
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
    return len(signals)


def _decide_in_order(
    signals: Sequence[ClaimedSignal], books: Mapping[str, TickerBook], rules: BookRules
) -> tuple[list[Decision], list[UUID], dict[str, int]]:
    """Apply the rule in order: what is approved here is pending for the later signals of its ticker.

    Return the decisions, the earlier entries of other batches that an exit has overtaken, and the `seq` of
    such an exit by ticker where its book does not have all of them.
    """
    decisions: dict[UUID, Decision] = {}
    overtaken: list[UUID] = []
    exits: dict[str, int] = {}
    tickers = {ticker: _PendingOrders(book) for ticker, book in books.items()}
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
        )
        decisions[signal.id] = decision
        if decision.terms is None:
            continue
        for id_ in pending.add(signal, decision.terms):
            if id_ in decisions:
                decisions[id_] = OVERTAKEN
            else:
                overtaken.append(id_)
        if decision.terms.intent is Intent.CLOSE and not books[signal.ticker].is_complete:
            exits[signal.ticker] = signal.seq
    return [decisions[signal.id] for signal in signals], overtaken, exits


class _PendingOrders:
    """The pending orders of a ticker while a batch is decided; each is applied to the book once."""

    def __init__(self, stored: TickerBook) -> None:
        self._stored = stored
        self._later = list(stored.unfinished)
        self._earlier: list[UnfinishedOrder] = []
        self._book = stored.book

    def book_before(self, seq: int) -> Book:
        """Return the book of the orders that arrived before, and of those with an open attempt."""
        if self._later:
            is_earlier = [each.seq < seq or each.order.is_sending for each in self._later]
            for each in compress(self._later, is_earlier):
                self._append(each)
            self._later = [each for each, earlier in zip(self._later, is_earlier, strict=True) if not earlier]
        return self._book

    def add(self, signal: ClaimedSignal, terms: OrderTerms) -> list[UUID]:
        """Add an order; return the entries that it overtakes, which are pending no longer."""
        overtaken = []
        if terms.intent is Intent.CLOSE:
            overtaken = [each.id for each in self._earlier if is_overtaken(each.order, terms.intent)]
            left = [each for each in self._earlier if not is_overtaken(each.order, terms.intent)]
            self._earlier, self._book = [], self._stored.book
            for each in left:
                self._append(each)
        self._append(UnfinishedOrder(signal.id, signal.seq, PendingOrder(terms)))
        return overtaken

    def _append(self, order: UnfinishedOrder) -> None:
        self._earlier.append(order)
        self._book = self._book.followed_by(order.order)
