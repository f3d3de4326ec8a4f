"""Write an attempt's outcome and what follows from it, in one transaction.

Successes that become known during a commit share the next one.
"""

import asyncio
import random
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import structlog

from app import metrics
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS, is_about_rows
from app.db.pool import Connection, Pool
from app.db.queries import load
from app.errors import describe
from app.orders import breaker
from app.orders.breaker import Failure
from app.orders.outbox import Delivery
from app.orders.policy import RetryUnknown, hold_seconds, next_status, retry_delay
from app.orders.transport import Answer
from app.signals.book import Effect
from app.signals.statuses import DecisionResult, Outcome, SignalType, Status

log = structlog.get_logger(__name__)

_TRY_AGAIN_SECONDS = 0.5
_SQL = load("app.orders")


@dataclass(eq=False, slots=True)
class Success:
    """A 2xx that was seen, and what its order does to the ticker's position. `change`: see `write`."""

    attempt: int
    signal: UUID
    ticker: str
    http_status: int | None
    response: bytes
    effect: Effect
    is_written: bool = False
    change: asyncpg.Record | None = None


class Successes:
    """Group commit without a worker: whoever gets its turn writes down what all others wait for as well."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[Success] = []
        self._turn = asyncio.Lock()

    async def write(self, success: Success) -> asyncpg.Record | None:
        """Return what changed (`position`, `seconds`, `more`, `recovered`) once that is committed.

        None if it was known before, by another sender or by a commit whose answer was lost: writing a success
        again changes nothing.

        Raises:
            asyncpg.PostgresError, TRANSIENT_DB_ERRORS: it cannot be written, or not now.
        """
        self._waiting.append(success)
        try:
            async with self._turn:
                if not success.is_written:
                    await self._write_all(success)
        finally:
            self._waiting.remove(success)
        return success.change

    async def _write_all(self, mine: Success) -> None:
        unwritten = [success for success in self._waiting if not success.is_written]
        together = list({success.ticker: success for success in [*unwritten, mine]}.values())
        async with self._pool.acquire() as connection:
            try:
                await record_successes(connection, together)
            except asyncpg.PostgresError as error:
                if len(together) == 1 or not is_about_rows(error):
                    raise
                await record_successes(connection, [mine])  # the others' own turns show whose row it was


async def record_successes(connection: Connection, successes: list[Success]) -> None:
    """Commit successes of different tickers in one statement."""
    rows = await connection.fetch(
        _SQL["delivered"],
        [success.attempt for success in successes],
        [success.signal for success in successes],
        [success.http_status for success in successes],
        [success.response for success in successes],
        [success.effect.value for success in successes],
    )
    changes = {row["id"]: row for row in rows}
    for success in successes:
        success.change, success.is_written = changes.get(success.signal), True


class Outcomes:
    """Writes down what came of attempts; the senders of a process share it."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._successes = Successes(context.pool)

    async def record(self, delivery: Delivery, answer: Answer, effect: Effect) -> None:
        """Write the outcome, however long the database is unavailable: it must not be forgotten.

        Writing it twice (a commit whose answer was lost) changes nothing the second time.
        """
        while True:
            try:
                if answer.outcome is Outcome.DELIVERED:
                    await self._record_delivered(delivery, answer, effect)
                else:
                    await self._record_undelivered(delivery, answer)
            except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
                if is_about_rows(error):
                    raise
                self._context.unwritten_outcomes[delivery.attempt] = why = describe(error)
                log.warning("outcome not written yet", signal_id=delivery.id, error=why)
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
            else:
                self._context.unwritten_outcomes.pop(delivery.attempt, None)
                metrics.SIGNALS_DELIVERED.labels(answer.outcome.value).inc()
                self._context.wakeups.notify("changed")
                return

    async def _record_delivered(self, delivery: Delivery, answer: Answer, effect: Effect) -> None:
        change = await self._successes.write(
            Success(
                attempt=delivery.attempt,
                signal=delivery.id,
                ticker=delivery.ticker,
                http_status=answer.http_status,
                response=answer.response,
                effect=effect,
            )
        )
        if change is None:
            return  # known before, by another sender or by a commit whose answer was lost
        if change["recovered"]:
            breaker.log_recovery()
            self._context.destination_state = "open"
        metrics.END_TO_END_SECONDS.observe(change["seconds"])
        side = metrics.side_of(delivery.type)
        metrics.BY_SIDE_END_TO_END_SECONDS.labels(side).observe(change["seconds"])
        log.info(
            "forwarded",
            signal_id=delivery.id,
            ticker=delivery.ticker,
            attempt=delivery.number,
            http_status=answer.http_status,
            position=change["position"],
        )
        if change["more"]:
            self._context.wakeups.notify("approved")

    async def _record_undelivered(self, delivery: Delivery, answer: Answer) -> None:
        config = self._context.config.webhook
        retry_unknown = RetryUnknown(buy=config.retry_unknown.buy, sell=config.retry_unknown.sell)
        status = next_status(answer.outcome, delivery.type, retry_unknown)
        delay = retry_delay(delivery.number, config.retry_seconds, random.random())  # noqa: S311  # spread, not secrecy
        reason = reason_of(answer, status)
        async with self._context.pool.acquire() as connection, connection.transaction():
            hold = await _hold(connection, answer, delay)
            # the destination's row first, as everywhere: the end of an attempt locks its counts
            if hold:
                await connection.execute(_SQL["hold"], delivery.destination.key, hold, reason)
            failure = await _judge_destination(connection, delivery, answer, reason)
            delay = failure.delay(delay)
            done = await connection.fetchrow(
                _SQL["undelivered"],
                *(delivery.attempt, delivery.id, delivery.claim_id),
                *(answer.outcome.value, answer.http_status, answer.error, answer.response),
                *(status, reason, delay if status == Status.APPROVED else None),
            )
            if done and status == Status.FAILED:
                await reject_orphans(connection, [delivery.ticker] if delivery.type == SignalType.BUY else [])
        if failure.pause or hold:
            self._context.destination_state = "held"
        log.warning(
            "not delivered",
            signal_id=delivery.id,
            ticker=delivery.ticker,
            attempt=delivery.number,
            outcome=answer.outcome.value,
            status=status if done else "the claim was lost",
            reason=reason,
        )
        # after a failure the ticker's next is due at once; the poll stands behind the timers
        loop = asyncio.get_running_loop()
        for seconds in {delay if status == Status.APPROVED else 0.0, hold or 0.0, failure.pause or 0.0}:
            loop.call_later(seconds, self._context.wakeups.notify, "approved")


async def _hold(connection: Connection, answer: Answer, delay: float) -> float | None:
    """Return for how long the destination is held; a date is measured by the database's clock."""
    if answer.retry_after is None and answer.http_status != 429:
        return None
    now = await connection.fetchval("SELECT clock_timestamp()")
    return hold_seconds(
        answer.http_status or 0, answer.retry_after, now=now, delay=delay, answered_at=answer.date
    )


async def _judge_destination(
    connection: Connection, delivery: Delivery, answer: Answer, reason: str
) -> Failure:
    destination = delivery.destination.key
    attempt = breaker.Attempt(delivery.id, answer.outcome, answer.http_status, answer.error)
    if attempt.is_failure:
        return await breaker.after_failure(connection, destination, attempt, delivery.started_at, reason)
    if attempt.is_answer:
        await breaker.after_answer(connection, destination)
    return Failure()


async def reject_orphans(connection: Connection, tickers: list[str]) -> None:
    """End the sells that wait for a buy of these tickers which will never be delivered."""
    if not tickers:
        return
    for row in await connection.fetch(_SQL["reject_orphans"], tickers):
        metrics.SIGNALS_DECIDED.labels(DecisionResult.REJECTED).inc()
        log.info("rejected", signal_id=row["id"], ticker=row["ticker"], reason=row["reason"])


def reason_of(answer: Answer, status: Status) -> str:
    """Say in a trader's words what happened and what will."""
    what = answer.error or f"HTTP {answer.http_status}"
    match answer.outcome:
        case Outcome.REFUSED:
            return f"the destination refused it: {what}"
        case Outcome.NOT_TAKEN:
            return f"the destination did not take it: {what}; it is tried again"
        case _:
            then = (
                "it is tried again"
                if status == Status.APPROVED
                else "not tried again: it may have been acted on"
            )
            return f"nobody knows whether the destination acted on it: {what}; {then}"
