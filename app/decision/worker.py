"""The decision workers: take received signals in order, apply the rule, store it with its reason."""

import asyncio
import time
from functools import partial

import asyncpg
import structlog

from app import metrics
from app.context import AppContext
from app.db.queries import load
from app.decision.rules import Decision, DuplicateBuys, TickerFacts, decide
from app.orders.repository import lock_approvals_shared
from app.signals.statuses import DecisionResult, SignalType

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
_BEAT_SECONDS = 10.0
# A signal on its own is decided at once. In a stream of them a commit each would cost more than all the rest:
# what comes within this time after a batch began goes into the next one.
_PACE_SECONDS = 0.008
# Looking through a queue in which everything waits for a fresh list takes at most a tenth of the time.
_COST_FACTOR = 10
_BATCH = 500
_SQL = load("app.decision")


def start(context: AppContext) -> None:
    """Start `WORKER_CONCURRENCY` workers, `decision-1` …, under the process's supervisor."""
    turn = asyncio.Lock()
    for number in range(1, context.settings.worker_concurrency + 1):
        name = f"decision-{number}"
        context.supervisor.start(name, partial(run, context, turn, name))


async def run(context: AppContext, turn: asyncio.Lock, name: str) -> None:
    """Decide signals as they come.

    The workers of a process take turns at the front of the queue: a batch decides up to 500 signals in one
    commit, and several at once would only split it. Other processes are kept apart by row locks.
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
            while (decided := await decide_batch(context)) == _BATCH:
                context.supervisor.beat(name)
            cost = time.monotonic() - started
            await asyncio.sleep(
                min(_COST_FACTOR * cost, POLL_SECONDS) if not decided else _PACE_SECONDS - cost
            )
        finally:
            turn.release()


async def decide_batch(context: AppContext) -> int:
    """Decide the front of the queue in one transaction; return how many signals that were."""
    config = context.config
    async with context.pool.acquire() as connection, connection.transaction():
        await lock_approvals_shared(connection)
        rows = await connection.fetch(
            _SQL["claim"], _BATCH, config.finviz.active_strategy.name, config.system.engine_paused
        )
        if not rows:
            return 0
        decisions = _decide_in_order(rows, config.system.duplicate_buys)
        results = await connection.fetch(
            _SQL["decide"],
            [row["id"] for row in rows],
            [decision.status for decision in decisions],
            [decision.reason for decision in decisions],
            [decision.detail for decision in decisions],
        )
    context.queues.count_decided(len(rows))
    for result in results:
        metrics.SIGNALS_DECIDED.labels(result["status"]).inc(result["signals"])
    for row, decision in zip(rows, decisions, strict=True):
        log.info(
            "decided",
            signal_id=row["id"],
            ticker=row["ticker"],
            status=decision.status,
            reason=decision.reason,
        )
    if any(decision.status == DecisionResult.APPROVED for decision in decisions):
        context.wakeups.notify("approved")
    context.wakeups.notify("changed")
    return len(rows)


def _decide_in_order(rows: list[asyncpg.Record], duplicate_buys: DuplicateBuys) -> list[Decision]:
    """Apply the rule row by row: a buy approved here is on its way for the rows of its ticker behind it."""
    on_the_way: set[str] = set()
    decisions = []
    for row in rows:
        ticker, order_type = row["ticker"], row["type"]
        facts = TickerFacts(
            is_open=row["is_open"],
            opening=row["opening"] or ticker in on_the_way,
            rank=row["rank"],
            size=row["size"],
            age_seconds=row["age_seconds"],
        )
        decision = decide(order_type, facts, overdue=row["overdue"], duplicate_buys=duplicate_buys)
        if order_type == SignalType.BUY and decision.status == DecisionResult.APPROVED:
            on_the_way.add(ticker)
        decisions.append(decision)
    return decisions
