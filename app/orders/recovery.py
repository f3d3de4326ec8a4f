"""Recover the attempts of dead senders, and expire signals that are past their age."""

import asyncio
from collections.abc import Callable

import structlog

from app import metrics
from app.context import AppContext
from app.db.pool import Connection
from app.orders import endings_repository, repository
from app.orders.clock_watch import LONGEST_LEASE_SECONDS, ClockWatch
from app.orders.destination_state import refresh_delivery_states
from app.orders.endings import reject_orphans
from app.orders.outbox import lease_seconds
from app.orders.outcomes import Outcomes, reason_of, record_unknown
from app.orders.policy import next_status
from app.orders.transport import Answer
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import DecisionResult, Outcome, SignalType, Status

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 2.0
_BATCH = 500


async def run(
    context: AppContext,
    name: str,
    outcomes: Outcomes,
    watch: ClockWatch,
    start_missing: Callable[[], None],
) -> None:
    """Store what an earlier process kept, then sweep, every 2 s; start the senders of added destinations.

    Two processes may do so at once: each row is handled by one of them. `watch` outlives a restart of the
    worker, so that a step during an outage of the database is measured.
    """
    while True:
        context.supervisor.beat(name)
        start_missing()
        async with context.pool.acquire() as connection:
            await renew_leases(context, connection)  # first: the others may wait for a lock
            await watch.check(context, connection, name)
            await refresh_delivery_states(context, connection)
            await drop_ended(context, connection)
        await outcomes.store_kept()
        # Sleep before the sweep: after an outage, live senders record their own outcomes first.
        await asyncio.sleep(INTERVAL_SECONDS)
        if await sweep(context, name):
            context.wakeups.notify("approved", "changed")


async def sweep(context: AppContext, name: str) -> int:
    """Recover abandoned attempts and expire overdue signals, one batch a transaction; return how many."""
    total = 0
    for step in (recover, end_strays, expire):
        done = _BATCH
        while done >= _BATCH:
            done = await step(context)
            total += done
            context.supervisor.beat(name)
    return total


async def drop_ended(context: AppContext, connection: Connection) -> None:
    """Remove from `context.unwritten_outcomes` the attempts that recovery, or another process, has ended."""
    if unwritten := list(context.unwritten_outcomes):
        still_open = await repository.read_open_attempts(connection, attempts=unwritten)
        for attempt in set(unwritten) - still_open:
            context.unwritten_outcomes.pop(attempt, None)


async def renew_leases(context: AppContext, connection: Connection) -> None:
    """Renew the leases of attempts whose outcome is known here and not stored yet.

    Another process would otherwise end such an attempt as unknown: a buy would fail, an exit be sent twice.
    """
    if known := list(context.known_outcomes):
        longest = max(lease_seconds(context, each.name) for each in context.config.destinations)
        await repository.renew_leases(connection, attempts=known, seconds=longest)


async def end_strays(context: AppContext) -> int:
    """End attempts that no sender can have open and whose signal has another claim; return how many.

    The circuit breaker sends no probe while an attempt is open, so one left open would hold back every exit.
    """
    async with context.pool.acquire() as connection, connection.transaction():
        ended = await repository.end_strays(
            connection,
            known=list(context.known_outcomes),
            longest_lease=LONGEST_LEASE_SECONDS,
            error=ReasonCode.SENDER_DIED,
        )
        for attempt in ended:
            if attempt.is_unclear:
                await record_unknown(
                    connection,
                    signal=attempt.id,
                    ticker=attempt.ticker,
                    destination=attempt.destination,
                    terms=attempt.terms,
                )
    if ended:
        metrics.SIGNALS_DELIVERED.labels(Outcome.UNKNOWN.value).inc(len(ended))
        log.warning("attempts without a sender ended", attempts=len(ended))
    return len(ended)


async def recover(context: AppContext) -> int:
    """End attempts whose lease has run out as unknown, and apply the retry rule; return how many.

    Passes over attempts whose outcome this process knows: it is stored as soon as the database accepts it.
    """
    answer = Answer(Outcome.UNKNOWN, error=Reason(ReasonCode.SENDER_DIED))
    orphaned: dict[str, list[str]] = {}
    async with context.pool.acquire() as connection, connection.transaction():
        abandoned = await repository.lock_abandoned(connection, known=list(context.known_outcomes))
        for attempt in abandoned:
            retry_unknown = context.config.retry_unknown_of(attempt.destination)
            status = next_status(answer.outcome, attempt.type, retry_unknown)
            change = await repository.record_undelivered(
                connection,
                attempt=attempt.attempt,
                signal=attempt.id,
                claim_id=attempt.claim_id,
                outcome=answer.outcome,
                error=answer.error,
                status=status,
                reason=reason_of(answer, status),
                retry_in_seconds=0.0 if status == Status.APPROVED else None,
            )
            metrics.SIGNALS_DELIVERED.labels(answer.outcome.value).inc()
            log.warning(
                "attempt of a dead sender recovered",
                signal_id=attempt.id,
                ticker=attempt.ticker,
                status=status,
            )
            if change.is_unclear:
                await record_unknown(
                    connection,
                    signal=attempt.id,
                    ticker=attempt.ticker,
                    destination=attempt.destination,
                    terms=attempt.terms,
                )
            if change.status in {Status.FAILED, Status.REJECTED} and attempt.type == SignalType.BUY:
                orphaned.setdefault(attempt.destination, []).append(attempt.ticker)
        for destination, tickers in orphaned.items():
            await reject_orphans(context, connection, tickers, destination)
    return len(abandoned)


async def expire(context: AppContext) -> int:
    """Expire what is overdue, and reject the sells that wait for an expired buy; return how much expired."""
    async with context.pool.acquire() as connection, connection.transaction():
        expired = await endings_repository.expire(connection, limit=_BATCH)
        buys = [each for each in expired if each.type == SignalType.BUY]
        for destination in context.config.destinations:
            tickers = {each.ticker for each in buys if each.destination in {None, destination.name}}
            await reject_orphans(context, connection, sorted(tickers), destination.name)
    metrics.SIGNALS_DECIDED.labels(DecisionResult.EXPIRED).inc(len({each.id for each in expired}))
    for each in expired:
        log.warning(
            "expired",
            signal_id=each.id,
            ticker=each.ticker,
            type=each.type,
            destination=each.destination,
            reason=each.reason,
        )
    return len(expired)
