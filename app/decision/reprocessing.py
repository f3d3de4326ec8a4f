"""Reprocessing: approve rejected buys whose ticker enters the list later.

Names and docstrings of the models are part of `/openapi.json`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

import structlog
from pydantic import BaseModel

from app import metrics
from app.config.model import Config, Strategy
from app.config.repository import still_configured
from app.context import AppContext
from app.db.pool import Connection
from app.decision import repository
from app.decision.batch import ClaimedSignal, TickerBook
from app.decision.destinations import Decided
from app.decision.record import BatchInputs, DestinationInputs, ListInForce
from app.decision.repository import Approval, Candidate, CurrentList
from app.decision.risk_facts import read_risk_counts, rules_of
from app.decision.rules import ListFacts
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
    destinations = await still_configured(connection, context.config.destinations)
    candidates = await repository.find_candidates(
        connection,
        tickers=[ticker for ticker in wanted if ticker in ranks],
        window_seconds=strategy.reprocess_window_seconds,
        max_age_seconds=strategy.reprocess_max_age_seconds,
        sell_window_seconds=(
            strategy.sell_chronology_window_seconds if strategy.respect_sell_chronology_enabled else None
        ),
        destinations=[each.name for each in destinations],
    )
    buys = [_listed(each, ranks[each.ticker], current) for each in candidates] if current else []
    taken = _taken(context.config, candidates)
    buys = [buy for buy in buys if any(buy.id in ids for ids in taken.values())]
    inputs, decided = None, Decided([], [], [])
    if current and buys:
        inputs = await _inputs(connection, context, strategy, current, buys, taken, why)
        decided = inputs.decide()
    refused = {
        buy.ticker: decision.reason
        for buy, decision in zip(buys, decided.decisions, strict=True)
        if decision.status != DecisionResult.APPROVED
    }
    signals = [
        Reprocessed(signal_id=buy.id, ticker=buy.ticker, rank=ranks[buy.ticker])
        for buy in buys
        if buy.ticker not in refused
    ]
    if not dry_run and refused:
        ids = [buy.id for buy in buys if buy.ticker in refused]
        await repository.reject_again(connection, signal_ids=ids, reasons=list(refused.values()))
    if not dry_run and signals:
        approvals = [
            Approval(buy.id, decision.reason, decision.detail, [order.destination for order in orders])
            for buy, decision, orders in zip(buys, decided.decisions, decided.orders, strict=True)
            if orders
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


def _taken(config: Config, candidates: Sequence[Candidate]) -> dict[str, set[UUID]]:
    """Return by destination the buys that it takes and has nothing open or unfinished of."""
    return {
        each.name: {
            buy.id for buy in candidates if each.name in buy.free and each.match.takes(buy.source, buy.ticker)
        }
        for each in config.destinations
    }


async def _inputs(
    connection: Connection,
    context: AppContext,
    strategy: Strategy,
    current: CurrentList,
    buys: Sequence[ClaimedSignal],
    taken: Mapping[str, set[UUID]],
    why: ReasonCode,
) -> BatchInputs:
    """Return what rejected buys are decided by. Nothing of their tickers is open or pending where they go."""
    system, now = context.config.system, context.clock.now()
    rules = rules_of(system.risk)
    everywhere = list[DestinationInputs]()
    for each in context.config.destinations:
        indexes = frozenset(index for index, buy in enumerate(buys) if buy.id in taken[each.name])
        tickers = [buys[index].ticker for index in sorted(indexes)]
        counts = await read_risk_counts(
            connection,
            rules,
            now=now,
            destination=destination_of(each.url, each.name),
            tickers=tickers,
            has_entries=bool(indexes),
        )
        books = {ticker: TickerBook(Book(), (), is_complete=True) for ticker in tickers}
        of_all = len(indexes) == len(buys)
        everywhere.append(DestinationInputs(books, counts, each.name, None if of_all else indexes))
    listed = ListInForce(
        strategy.name,
        strategy.top_n,
        strategy.max_age_seconds,
        is_frozen=system.engine_paused,
        id=current.id,
        fetched_at=current.fetched_at,
    )
    return BatchInputs(buys, everywhere, system.book_rules, rules, now, listed, reprocessed=why)


def announce(context: AppContext, outcome: ReprocessingResult) -> None:
    """Count and log the approved buys and wake the workers; called after the commit."""
    for signal in outcome.signals:
        metrics.SIGNALS_DECIDED.labels(DecisionResult.APPROVED).inc()
        log.info("reprocessed", signal_id=signal.signal_id, ticker=signal.ticker, rank=signal.rank)
    if outcome.signals:
        context.wakeups.notify("approved", "changed")
