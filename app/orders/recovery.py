"""Takes up what a dead sender left behind, and ends what has become too old (SPEC §9, §10)."""

import asyncio

import structlog

from app import metrics
from app.db.pool import Connection
from app.db.queries import load
from app.orders.breaker import SENDER_DIED
from app.orders.clock import ClockWatch
from app.orders.destination import look_up_state
from app.orders.outcomes import reason_of, reject_orphans
from app.orders.policy import Outcome, RetryUnknown, next_status
from app.orders.transport import Answer
from app.runtime import Runtime

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 2.0
_BATCH = 500
_SQL = load("delivery")


async def run(runtime: Runtime, name: str) -> None:
    """Look every 2 s, for ever. Two processes may do it at once: each row is taken by one of them."""
    watch = ClockWatch()
    while True:
        runtime.supervisor.beat(name)
        async with runtime.pool.acquire() as connection:
            await watch.look(runtime, connection)
            await look_up_state(runtime, connection)
            await drop_ended(runtime, connection)
        # after an outage, too: who could not write an outcome down for longer than its lease does so first
        await asyncio.sleep(INTERVAL_SECONDS)
        if await sweep(runtime, name):
            runtime.wakeups.notify("approved")
            runtime.wakeups.notify("changed")


async def sweep(runtime: Runtime, name: str) -> int:
    """Take up all that was abandoned and end all that is overdue, a batch a transaction; return how many."""
    total = 0
    for step in (recover, expire):
        done = _BATCH
        while done == _BATCH:
            done = await step(runtime)
            total += done
            runtime.supervisor.beat(name)
    return total


async def drop_ended(runtime: Runtime, connection: Connection) -> None:
    """Remove from `runtime.unwritten_outcomes` the attempts that recovery, or another process, has ended."""
    if unwritten := list(runtime.unwritten_outcomes):
        rows = await connection.fetch(_SQL["still_open"], unwritten)
        for attempt in set(unwritten) - {row["id"] for row in rows}:
            runtime.unwritten_outcomes.pop(attempt, None)


async def recover(runtime: Runtime) -> int:
    """Close attempts whose lease ran out as unknown, follow the rule for it, return how many there were."""
    config = runtime.config.webhook.retry_unknown
    answer = Answer(Outcome.UNKNOWN, error=SENDER_DIED)
    tickers: list[str] = []
    async with runtime.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(_SQL["abandoned"])
        for row in rows:
            status = next_status(answer.outcome, row["type"], RetryUnknown(config.buy, config.sell))
            await connection.fetchrow(
                _SQL["undelivered"],
                *(row["attempt"], row["id"], row["claim_id"]),
                *(answer.outcome.value, None, answer.error, None),
                *(status, reason_of(answer, status), 0.0 if status == "approved" else None),
            )
            metrics.SIGNALS_DELIVERED.labels(answer.outcome.value).inc()
            log.warning(
                "taken up from a dead sender", signal_id=row["id"], ticker=row["ticker"], status=status
            )
            if status == "failed" and row["type"] == "buy":
                tickers.append(row["ticker"])
        await reject_orphans(connection, tickers)
    return len(rows)


async def expire(runtime: Runtime) -> int:
    """End what is past its age (SPEC §10) and the sells whose buy that was; return how many were too old."""
    async with runtime.pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(_SQL["expire"], _BATCH)
        await reject_orphans(connection, sorted({row["ticker"] for row in rows if row["type"] == "buy"}))
    for row in rows:
        metrics.SIGNALS_DECIDED.labels("expired").inc()
        log.warning(
            "expired", signal_id=row["id"], ticker=row["ticker"], type=row["type"], reason=row["reason"]
        )
    return len(rows)
