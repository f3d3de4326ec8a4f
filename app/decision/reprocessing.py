"""Rejected buys are approved after all when their ticker enters the list."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog
from pydantic import BaseModel

from app import metrics
from app.config.model import Strategy
from app.context import AppContext
from app.db.pool import Connection
from app.db.queries import load
from app.orders.repository import lock_approvals_exclusive
from app.signals.statuses import DecisionResult

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
_SQL = load("app.decision")
_NOT_LISTED = "not in a fresh list of the active strategy"
_NOTHING = (
    "no rejected buy within the strategy's windows, a later sell, "
    "or an order of the ticker that is open, waiting or on its way"
)


class Reprocessed(BaseModel):
    """A rejected buy that is approved after all, or would be."""

    signal_id: UUID
    ticker: str
    rank: int


class Skipped(BaseModel):
    """A ticker of which no buy is approved, and why."""

    ticker: str
    reason: str


class Outcome(BaseModel):
    """What reprocessing did; with `dry_run` what it would do."""

    dry_run: bool
    count: int
    signals: list[Reprocessed]
    skipped: list[Skipped]


def start(context: AppContext) -> None:
    """Start the worker `reprocessing` under the process's supervisor."""
    context.supervisor.start("reprocessing", partial(run, context, "reprocessing"))


async def run(context: AppContext, name: str) -> None:
    """Look at every list with tickers that entered; each is dealt with by one process, once."""
    while True:
        context.supervisor.beat(name)
        if not await look_at_lists(context):
            await context.wakeups.wait("listed", POLL_SECONDS)


async def look_at_lists(context: AppContext) -> int:
    """Deal with the lists that nobody has looked at, in one transaction; return how many there were.

    A list of a strategy that is not active, or does not allow it, is done without a look at any signal.
    """
    strategy = context.config.finviz.active_strategy
    if not await context.pool.fetchval(_SQL["pending"]):
        return 0
    async with context.pool.acquire() as connection, connection.transaction():
        await lock_approvals_exclusive(connection)
        rows = await connection.fetch(_SQL["lists"])
        if not rows:
            return 0
        entered = [ticker for row in rows if row["strategy"] == strategy.name for ticker in row["entered"]]
        done = None
        if strategy.reprocess_enabled and entered:
            done = await reprocess(connection, context, strategy, entered, why="entered the list")
        await connection.execute(_SQL["done"], [row["id"] for row in rows])
    if done is not None:
        announce(context, done)
    return len(rows)


async def reprocess(
    connection: Connection,
    context: AppContext,
    strategy: Strategy,
    tickers: Sequence[str] | None,
    *,
    why: str,
    dry_run: bool = False,
) -> Outcome:
    """Approve the newest rejected buy of each ticker that the windows reach; None is the whole list.

    Runs in the transaction of a caller that owns the approvals. Only tickers of a fresh list count.
    """
    listed = await connection.fetchrow(_SQL["current"], strategy.name, context.config.system.engine_paused)
    ranks = {ticker: rank for rank, ticker in enumerate(listed["tickers"], 1)} if listed else {}
    wanted = list(dict.fromkeys(ranks if tickers is None else tickers))
    found = await connection.fetch(
        _SQL["candidates"],
        [ticker for ticker in wanted if ticker in ranks],
        strategy.reprocess_window_seconds,
        strategy.reprocess_max_age_seconds,
        strategy.sell_chronology_window_seconds if strategy.respect_sell_chronology_enabled else None,
    )
    signals = [
        Reprocessed(signal_id=row["id"], ticker=row["ticker"], rank=ranks[row["ticker"]]) for row in found
    ]
    if not dry_run and signals and listed:
        await connection.fetch(
            _SQL["approve"],
            [signal.signal_id for signal in signals],
            [f"{signal.ticker} {why}: rank {signal.rank} of {len(ranks)}" for signal in signals],
            [
                {
                    "rank": signal.rank,
                    "list_size": len(ranks),
                    "list_age_seconds": round(listed["age_seconds"], 1),
                    "reprocessed": True,
                }
                for signal in signals
            ],
            context.config.webhook.max_signal_age_seconds.buy,
        )
    taken = {signal.ticker for signal in signals}
    return Outcome(
        dry_run=dry_run,
        count=len(signals),
        signals=signals,
        skipped=[
            Skipped(ticker=ticker, reason=_NOTHING if ticker in ranks else _NOT_LISTED)
            for ticker in wanted
            if ticker not in taken
        ],
    )


def announce(context: AppContext, outcome: Outcome) -> None:
    """Count, log and pass on what was approved; called after the commit."""
    for signal in outcome.signals:
        metrics.SIGNALS_DECIDED.labels(DecisionResult.APPROVED).inc()
        log.info("reprocessed", signal_id=signal.signal_id, ticker=signal.ticker, rank=signal.rank)
    if outcome.signals:
        context.wakeups.notify("approved")
        context.wakeups.notify("changed")
