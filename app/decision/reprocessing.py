"""Reprocessing: approve rejected buys whose ticker enters the list later.

Names and docstrings of the models are part of `/openapi.json`.
"""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog
from pydantic import BaseModel

from app import metrics
from app.config.model import Config, Strategy
from app.context import AppContext
from app.db.pool import Connection
from app.decision import repository
from app.decision.batch import ClaimedSignal, TickerBook
from app.decision.record import BatchInputs, ListInForce
from app.decision.repository import Approval, Candidate, CurrentList
from app.decision.risk_facts import read_risk_book, rules_of
from app.decision.rules import Decision, ListFacts
from app.orders.destination import destination_of
from app.orders.repository import lock_approvals_exclusive
from app.signals.book import Book
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode
from app.signals.statuses import DecisionResult
from app.signals.tickers import fold
from app.web.reasons import render

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0


class Reprocessed(BaseModel):
    """A rejected buy that was approved, or would be."""

    signal_id: UUID
    ticker: str
    rank: int


class Skipped(BaseModel):
    """A ticker of which no buy is approved, and why."""

    ticker: str
    reason: str


class ReprocessingResult(BaseModel):
    """What reprocessing did, or with `dry_run` would do."""

    dry_run: bool
    count: int
    signals: list[Reprocessed]
    skipped: list[Skipped]


def start(context: AppContext) -> None:
    """Start the worker `reprocessing` under the process's supervisor."""
    context.supervisor.start("reprocessing", partial(run, context, "reprocessing"))


async def run(context: AppContext, name: str) -> None:
    """Process lists with entered tickers as they are stored."""
    while True:
        context.supervisor.beat(name)
        if not await process_lists(context):
            await context.wakeups.wait("listed", POLL_SECONDS)


async def process_lists(context: AppContext) -> int:
    """Process the pending lists in one transaction; return how many there were.

    Each list is processed once, by one process. A list of a strategy that is inactive or does not reprocess
    is only marked as processed.
    """
    strategy = context.config.finviz.active_strategy
    if not await repository.has_pending_lists(context.pool):
        return 0
    async with context.pool.acquire() as connection, connection.transaction():
        await lock_approvals_exclusive(connection)
        lists = await repository.lock_pending_lists(connection)
        if not lists:
            return 0
        entered = [ticker for each in lists if each.strategy == strategy.name for ticker in each.entered]
        outcome = None
        if strategy.reprocess_enabled and entered:
            outcome = await reprocess(connection, context, strategy, entered, why=ReasonCode.ENTERED_LIST)
        await repository.mark_lists_processed(connection, list_ids=[each.id for each in lists])
    if outcome is not None:
        announce(context, outcome)
    return len(lists)


async def reprocess(
    connection: Connection,
    context: AppContext,
    strategy: Strategy,
    tickers: Sequence[str] | None,
    *,
    why: ReasonCode,
    dry_run: bool = False,
) -> ReprocessingResult:
    """Approve each ticker's newest rejected buy within the strategy's windows, if the risk rules allow it.

    `tickers` None means the whole list. The caller's transaction holds the exclusive approval lock.
    Fails closed: only tickers in a fresh list count, so without one nothing is approved.
    """
    current = await repository.find_current_list(
        connection, strategy=strategy.name, is_frozen=context.config.system.engine_paused
    )
    ranks = dict[str, int]()
    for rank, ticker in enumerate(current.tickers if current else (), 1):
        ranks.setdefault(fold(ticker), rank)
    wanted = list(dict.fromkeys(ranks if tickers is None else map(fold, tickers)))
    candidates = await repository.find_candidates(
        connection,
        tickers=[ticker for ticker in wanted if ticker in ranks],
        window_seconds=strategy.reprocess_window_seconds,
        max_age_seconds=strategy.reprocess_max_age_seconds,
        sell_window_seconds=(
            strategy.sell_chronology_window_seconds if strategy.respect_sell_chronology_enabled else None
        ),
        destinations=[each.name for each in context.config.destinations],
    )
    matching = {each.id: _destinations_of(context.config, each) for each in candidates}
    candidates = [each for each in candidates if matching[each.id]]
    inputs, decisions = None, list[Decision]()
    if current and candidates:
        buys = [_listed(each, ranks[each.ticker], current) for each in candidates]
        inputs = await _inputs(connection, context, strategy, current, buys, why)
        decisions = inputs.decide()
    refused = {
        each.ticker: decision.reason
        for each, decision in zip(candidates, decisions, strict=True)
        if decision.status != DecisionResult.APPROVED
    }
    signals = [
        Reprocessed(signal_id=each.id, ticker=each.ticker, rank=ranks[each.ticker])
        for each in candidates
        if each.ticker not in refused
    ]
    if not dry_run and refused:
        ids = [each.id for each in candidates if each.ticker in refused]
        await repository.reject_again(connection, signal_ids=ids, reasons=list(refused.values()))
    if not dry_run and signals:
        approvals = [
            Approval(each.id, decision.reason, decision.detail, matching[each.id])
            for each, decision in zip(candidates, decisions, strict=True)
            if each.ticker not in refused
        ]
        await repository.approve_rejected_buys(
            connection,
            approvals=approvals,
            expires_in_seconds=context.config.webhook.max_signal_age_seconds.buy,
        )
    if not dry_run and inputs:
        await repository.record_batch(connection, inputs=inputs)
    approved = {signal.ticker for signal in signals}
    return ReprocessingResult(
        dry_run=dry_run,
        count=len(signals),
        signals=signals,
        skipped=[
            Skipped(
                ticker=ticker,
                reason=render(refused.get(ticker) or Reason(_skipped(is_listed=ticker in ranks))),
            )
            for ticker in wanted
            if ticker not in approved
        ],
    )


def _skipped(*, is_listed: bool) -> RefusalCode:
    return RefusalCode.NOTHING_TO_APPROVE if is_listed else RefusalCode.NOT_IN_LIST


def _listed(candidate: Candidate, rank: int, current: CurrentList) -> ClaimedSignal:
    facts = ListFacts(rank, len(current.tickers), current.age_seconds)
    return ClaimedSignal(
        *(candidate.id, candidate.seq, candidate.ticker, candidate.type, candidate.body),
        is_expired=False,
        facts=facts,
        source=candidate.source,
    )


def _destinations_of(config: Config, candidate: Candidate) -> list[str]:
    """Return the destinations that take a buy and have nothing of its ticker open or unfinished."""
    return [
        each.name
        for each in config.destinations
        if each.name in candidate.free and each.match.takes(candidate.source, candidate.ticker)
    ]


async def _inputs(
    connection: Connection,
    context: AppContext,
    strategy: Strategy,
    current: CurrentList,
    buys: Sequence[ClaimedSignal],
    why: ReasonCode,
) -> BatchInputs:
    """Return what rejected buys are decided by. Nothing of their tickers is open or pending."""
    system, nothing = context.config.system, Book()
    risk = await read_risk_book(
        connection,
        rules_of(system.risk),
        now=context.clock.now(),
        destination=destination_of(context.config.webhook.url),
        books={each.ticker: nothing for each in buys},
        has_entries=bool(buys),
    )
    listed = ListInForce(
        strategy.name,
        strategy.top_n,
        strategy.max_age_seconds,
        is_frozen=system.engine_paused,
        id=current.id,
        fetched_at=current.fetched_at,
    )
    books = {each.ticker: TickerBook(nothing, (), is_complete=True) for each in buys}
    return BatchInputs(
        *(buys, books, system.book_rules, risk.rules, risk.now, risk.counts, listed), reprocessed=why
    )


def announce(context: AppContext, outcome: ReprocessingResult) -> None:
    """Count and log the approved buys and wake the workers; called after the commit."""
    for signal in outcome.signals:
        metrics.SIGNALS_DECIDED.labels(DecisionResult.APPROVED).inc()
        log.info("reprocessed", signal_id=signal.signal_id, ticker=signal.ticker, rank=signal.rank)
    if outcome.signals:
        context.wakeups.notify("approved", "changed")
