"""Recover the attempts of dead senders, and expire what has become too old."""

import asyncio

import structlog

from app import metrics
from app.context import AppContext
from app.db.pool import Connection
from app.db.queries import load
from app.orders.breaker import SENDER_DIED
from app.orders.clock_watch import ClockWatch
from app.orders.destination_state import refresh_destination_state
from app.orders.outcomes import reason_of, reject_orphans
from app.orders.policy import RetryUnknown, next_status
from app.orders.transport import Answer
from app.signals.statuses import DecisionResult, Outcome, SignalType, Status

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 2.0
_BATCH = 500
_SQL = load("app.orders")


async def run(context: AppContext, name: str) -> None:
    """Look every 2 s. Two processes may do it at once: each row is taken by one of them."""
    watch = ClockWatch()
    while True:
        context.supervisor.beat(name)
        async with context.pool.acquire() as connection:
            await watch.look(context, connection)
            await refresh_destination_state(context, connection)
            await drop_ended(context, connection)
        # after an outage, too: who could not write an outcome down for longer than its lease does so first
        await asyncio.sleep(INTERVAL_SECONDS)
        if await sweep(context, name):
            context.wakeups.notify("approved")
            context.wakeups.notify("changed")


async def sweep(context: AppContext, name: str) -> int:
    """Take up all that was abandoned and end all that is overdue, a batch a transaction; return how many."""
    total = 0
    for step in (recover, expire):
        done = _BATCH
        while done == _BATCH:
            done = await step(context)
            total += done
            context.supervisor.beat(name)
    return total


async def drop_ended(context: AppContext, connection: Connection) -> None:
    """Remove from `context.unwritten_outcomes` the attempts that recovery, or another process, has ended."""
    if unwritten := list(context.unwritten_outcomes):
        rows = await connection.fetch(_SQL["still_open"], unwritten)
        for attempt in set(unwritten) - {row["id"] for row in rows}:
            context.unwritten_outcomes.pop(attempt, None)


async def recover(context: AppContext) -> int:
    """Close attempts whose lease ran out as unknown, follow the rule for it, return how many there were."""
    config = context.config.webhook.retry_unknown
    answer = Answer(Outcome.UNKNOWN, error=SENDER_DIED)
    tickers: list[str] = []
    async with context.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(_SQL["abandoned"])
        for row in rows:
            status = next_status(answer.outcome, row["type"], RetryUnknown(config.buy, config.sell))
            await connection.fetchrow(
                _SQL["undelivered"],
                *(row["attempt"], row["id"], row["claim_id"]),
                *(answer.outcome.value, None, answer.error, None),
                *(status, reason_of(answer, status), 0.0 if status == Status.APPROVED else None),
            )
            metrics.SIGNALS_DELIVERED.labels(answer.outcome.value).inc()
            log.warning(
                "taken up from a dead sender", signal_id=row["id"], ticker=row["ticker"], status=status
            )
            if status == Status.FAILED and row["type"] == SignalType.BUY:
                tickers.append(row["ticker"])
        await reject_orphans(connection, tickers)
    return len(rows)


async def expire(context: AppContext) -> int:
    """End what is past its age and the sells whose buy that was; return how many were too old."""
    async with context.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(_SQL["expire"], _BATCH)
        await reject_orphans(
            connection, sorted({row["ticker"] for row in rows if row["type"] == SignalType.BUY})
        )
    for row in rows:
        metrics.SIGNALS_DECIDED.labels(DecisionResult.EXPIRED).inc()
        log.warning(
            "expired", signal_id=row["id"], ticker=row["ticker"], type=row["type"], reason=row["reason"]
        )
    return len(rows)
