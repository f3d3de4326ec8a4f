"""Record an attempt's outcome and what follows from it, in one transaction.

Successes that arrive during a commit share the next one.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import asyncpg
import structlog

from app import metrics
from app.config.destinations import DEFAULT_DESTINATION
from app.context import AppContext
from app.db.clock import read_time
from app.db.errors import TRANSIENT_DB_ERRORS, is_about_rows, may_be_about_rows
from app.db.pool import Connection, Pool, acquire_for
from app.errors import describe
from app.orders import destinations_repository, repository
from app.orders.destination import Attempt, Destination, Failure, probe_delay, should_open_circuit
from app.orders.endings import reject_orphans
from app.orders.kept_outcomes import KeptOutcomes, KnownOutcome
from app.orders.policy import hold_seconds, next_status, retry_delay
from app.orders.repository import DeliveredChange, DeliveredOrder, Delivery, HeldPosition
from app.orders.transport import Answer
from app.signals.book import OrderTerms, Position, apply, realized_by_close
from app.signals.reading import ENTRIES, Intent
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome, SignalType, Status

log = structlog.get_logger(__name__)

_RETRY_WRITE_SECONDS = 0.5
_KEEP_AFTER_SECONDS = 1.0  # an outcome that is not stored by then is kept in a file, too
_STORE_KEPT_SECONDS = 5.0
_ONE_WRITE_SECONDS = 10.0  # then the connection is broken, or a lock is held: another connection is tried
# A single success is committed at once. In a stream of them a commit for each costs more than to send it:
# within this time after a commit, the next one waits for the requests that are being sent.
_COMMIT_INTERVAL_SECONDS = 0.008
_MOST_CHANGES = 10  # of a position that others change while an outcome is recorded
_SECONDS_BY_SIDE = {side: metrics.BY_SIDE_END_TO_END_SECONDS.labels(side) for side in metrics.SIDES}
_DELIVERED_BY_OUTCOME = {outcome: metrics.SIGNALS_DELIVERED.labels(outcome.value) for outcome in Outcome}
_RECENT_ATTEMPTS = 50  # read to decide whether the circuit opens


@dataclass(eq=False, slots=True)
class Success:
    """A 2xx answer to an order, and the position at its claim. `change`: see `Successes.write`."""

    attempt: int
    signal: UUID
    ticker: str
    http_status: int | None
    response: bytes
    terms: OrderTerms
    held: HeldPosition | None = None
    destination: str = DEFAULT_DESTINATION
    is_shared: bool = False
    is_written: bool = False
    change: DeliveredChange | None = None

    def on(self, held: HeldPosition | None, *, is_newest: bool | None = None) -> DeliveredOrder:
        """Return what to record, by the position that it changes.

        `is_newest`: the attempt has ended as unknown, and no other order of its ticker has ended since. If
        another one has, or a person has settled the position, it is not known what is open now.
        """
        before, terms = held.position if held else None, self.terms
        has_ended = is_newest is not None
        is_current = is_newest and before is not None and not before.is_confirmed
        outcome = Outcome.UNKNOWN if has_ended and not is_current else Outcome.DELIVERED
        after = apply(terms, outcome, before)
        order = DeliveredOrder(
            self.attempt,
            self.signal,
            self.destination,
            self.http_status,
            self.response,
            has_ended=has_ended,
            is_open=after is not None,
            buys=int(terms.intent in ENTRIES),
            change=_change(before, after, terms.intent),
            realized=after.realized if after else before and realized_by_close(terms, before),
        )
        if held:
            order.position = held.id
            order.held, order.was_confirmed = held.position.quantity, held.position.is_confirmed
        if after:
            order.quantity, order.is_confirmed = after.quantity, after.is_confirmed
            order.average_price = after.average_price
        return order


def _change(before: Position | None, after: Position | None, intent: Intent) -> str:
    """Return what became of a position, as the timeline stores it."""
    if after is None:
        return "unchanged" if before is None else "closed"
    if before is None:
        return "opened"
    if intent in ENTRIES:
        return "counted up"
    return "unchanged" if after == before else "reduced"


class Successes:
    """Group commit of a destination without a worker: the caller that holds the lock writes for all.

    Each destination has its own, so that none waits for a lock that the commit of another waits for.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[Success] = []
        self._lock = asyncio.Lock()
        self._commit_at = 0.0  # when the last one began, in `time.monotonic()`
        self._unanswered = 0
        self._is_answered = asyncio.Event()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request that is being sent: its outcome may share the next commit."""
        self._unanswered += 1
        try:
            yield
        finally:
            self._unanswered -= 1
            self._is_answered.set()

    async def write(self, success: Success) -> DeliveredChange | None:
        """Return what changed, once it is committed; None if the signal was forwarded before.

        Another sender, or a commit with a lost answer, may have recorded it. Writing again changes nothing.

        Raises:
            asyncpg.PostgresError, TRANSIENT_DB_ERRORS: it cannot be written, or not now.
        """
        self._waiting.append(success)
        try:
            async with self._lock:
                if not success.is_written:
                    await self._write_all(success)
        finally:
            self._waiting.remove(success)
        return success.change

    async def _write_all(self, mine: Success) -> None:
        await self._wait_for_others()
        self._commit_at = time.monotonic()
        unwritten = [success for success in self._waiting if not success.is_written]
        together = list({success.ticker: success for success in [*unwritten, mine]}.values())
        async with acquire_for(self._pool, _ONE_WRITE_SECONDS) as connection:
            try:
                await record_successes(connection, together)
            except asyncpg.PostgresError as error:
                if len(together) == 1 or not may_be_about_rows(error):
                    raise
                await record_successes(
                    connection, [mine]
                )  # each of the others writes its own, or fails alone

    async def _wait_for_others(self) -> None:
        """Wait for answers that may share the commit; an exit of the same ticker waits as long."""
        deadline = self._commit_at + _COMMIT_INTERVAL_SECONDS
        while self._unanswered and (seconds := deadline - time.monotonic()) > 0:
            self._is_answered.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_answered.wait()
        await asyncio.sleep(0)  # those that came together


async def record_successes(connection: Connection, successes: list[Success]) -> None:
    """Commit successes of different tickers at one destination in one statement; set each one's `change`.

    Nothing else of a ticker is sent meanwhile, so its position is the one of the claim. If it is another one
    (a person has settled it, or the outcome comes late), that success is recorded again on the position as
    it is, which is locked for it.
    """
    shared = [success.signal for success in successes if success.is_shared]
    async with AsyncExitStack() as stack:
        if shared:  # senders of several destinations change these signals
            await stack.enter_async_context(connection.transaction())
            await repository.lock_signals(connection, ids=shared)
        orders = [success.on(success.held) for success in successes]
        changes = await repository.record_delivered(connection, orders=orders)
    _note_written(successes, changes)
    for success in successes:
        for _ in range(_MOST_CHANGES):
            if success.is_written:
                break
            async with connection.transaction():
                if success.is_shared:
                    await repository.lock_signals(connection, ids=[success.signal])
                held = await repository.lock_position(
                    connection, ticker=success.ticker, destination=success.destination
                )
                is_newest = await repository.read_ended_attempt(connection, attempt=success.attempt)
                order = success.on(held, is_newest=is_newest)
                changes = await repository.record_delivered(connection, orders=[order])
            _note_written([success], changes)
        if not success.is_written:
            raise asyncpg.SerializationError("the position of the order changes all the time")


def _note_written(successes: list[Success], changes: Mapping[UUID, DeliveredChange]) -> None:
    """Set what is written: only now it is committed."""
    for success in successes:
        change = changes[success.signal]
        success.is_written = not change.is_stale
        success.change = change if change.is_done else None


async def record_unknown(
    connection: Connection, *, signal: UUID, ticker: str, destination: str, terms: OrderTerms
) -> None:
    """Write what an order of unknown outcome makes of the position at its destination.

    Fails open: what it may have opened counts as open, unconfirmed, so that exits pass; what it may have
    closed stays open.
    """
    held = await repository.lock_position(connection, ticker=ticker, destination=destination)
    before = held.position if held else None
    after = apply(terms, Outcome.UNKNOWN, before)
    if after is not None and after != before:
        await repository.write_unknown(
            connection,
            ticker=ticker,
            destination=destination,
            signal=signal,
            before=held,
            position=after,
        )


class Outcomes:
    """Records the outcomes of attempts; the senders of a process share it."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._successes = defaultdict[str, Successes](partial(Successes, context.pool))
        self._files = KeptOutcomes(context.settings.data_dir / "outcomes")
        self._from_before: list[KnownOutcome] = []

    def load_kept(self) -> None:
        """Load what an earlier process could not store. Until it is stored, recovery passes over it."""
        self._from_before = self._files.load()
        self._context.known_outcomes.update(known.delivery.attempt for known in self._from_before)

    async def store_kept(self) -> None:
        """Try once to store each outcome that `load_kept` returned."""
        for known in list(self._from_before):
            attempt = known.delivery.attempt
            try:
                async with asyncio.timeout(_STORE_KEPT_SECONDS):
                    if await self._has_attempt(known.delivery):
                        await self._record_once(known)
                        self._files.forget(attempt)
                    else:  # the stand-in of a rollback may run on another database: the file stays
                        log.warning("kept outcome belongs to another database", attempt=attempt)
            except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
                if not is_about_rows(error):
                    self._context.unwritten_outcomes[attempt] = describe(error)
                    continue
                log.exception("kept outcome cannot be stored", attempt=attempt)
                self._files.forget(attempt)
            self._from_before.remove(known)
            self._context.known_outcomes.discard(attempt)

    async def _has_attempt(self, delivery: Delivery) -> bool:
        async with self._context.pool.acquire() as connection:
            return await repository.has_attempt(
                connection, attempt=delivery.attempt, signal=delivery.id, claim_id=delivery.claim_id
            )

    def request(self, destination: str) -> AbstractContextManager[None]:
        """Count a request to a destination while it is being sent."""
        return self._successes[destination].request()

    async def store(self, known: KnownOutcome) -> None:
        """Store the outcome, however long it takes; meanwhile recovery passes over it, and a file keeps it.

        Raises:
            asyncpg.PostgresError: PostgreSQL refuses its content. Recovery ends the attempt after its lease.
        """
        attempt = known.delivery.attempt
        self._context.known_outcomes.add(attempt)
        keeping = asyncio.get_running_loop().call_later(_KEEP_AFTER_SECONDS, self._files.keep, known)
        try:
            await self.record(known)
        except asyncio.CancelledError:  # the process ends: its next start stores the outcome
            self._files.keep(known)
            raise
        finally:
            keeping.cancel()
            self._context.known_outcomes.discard(attempt)
        self._files.forget(attempt)

    async def record(self, known: KnownOutcome) -> None:
        """Record the outcome, retrying for as long as the database is unavailable.

        Recording it twice (a commit whose answer was lost) changes nothing the second time.
        """
        delivery = known.delivery
        while True:
            try:
                await self._record_once(known)
            except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
                if is_about_rows(error):
                    raise
                self._context.unwritten_outcomes[delivery.attempt] = why = describe(error)
                log.warning("outcome not stored yet; retrying", signal_id=delivery.id, error=why)
                await asyncio.sleep(_RETRY_WRITE_SECONDS)
            else:
                return

    async def _record_once(self, known: KnownOutcome) -> None:
        delivery, answer = known.delivery, known.answer
        if answer.outcome is Outcome.DELIVERED:
            await self._record_delivered(delivery, answer, known.terms)
        else:
            await self._record_undelivered(delivery, answer, known.terms)
        self._context.unwritten_outcomes.pop(delivery.attempt, None)
        _DELIVERED_BY_OUTCOME[answer.outcome].inc()
        self._context.wakeups.notify("changed")

    async def _record_delivered(self, delivery: Delivery, answer: Answer, terms: OrderTerms) -> None:
        success = Success(
            attempt=delivery.attempt,
            signal=delivery.id,
            ticker=delivery.ticker,
            http_status=answer.http_status,
            response=answer.response,
            terms=terms,
            held=delivery.held,
            destination=delivery.destination.name,
            is_shared=delivery.is_shared,
        )
        change = await self._successes[success.destination].write(success)
        if change is None or change.age_seconds is None:
            return
        if change.has_closed_circuit:
            _log_recovery(delivery.destination)
            self._context.delivery_of(delivery.destination.name).state = "open"
        metrics.END_TO_END_SECONDS.observe(change.age_seconds)
        _SECONDS_BY_SIDE[metrics.side_of(delivery.type)].observe(change.age_seconds)
        log.info(
            "forwarded",
            signal_id=delivery.id,
            ticker=delivery.ticker,
            attempt=delivery.number,
            http_status=answer.http_status,
            intent=terms.intent.value,
            position=change.position,
        )
        # For the ticker's next order, which no claim took before this was committed.
        self._context.wakeups.notify("approved")

    async def _record_undelivered(self, delivery: Delivery, answer: Answer, terms: OrderTerms) -> None:
        config = self._context.config
        name = delivery.destination.name
        status = next_status(answer.outcome, delivery.type, config.retry_unknown_of(name))
        delay = retry_delay(delivery.number, config.webhook.retry_seconds, random.random())  # noqa: S311  # spread, not secrecy
        reason = reason_of(answer, status)
        destination = delivery.destination.key
        async with (
            acquire_for(self._context.pool, _ONE_WRITE_SECONDS) as connection,
            connection.transaction(),
        ):
            hold = await _hold_of(connection, answer, delay)
            # Lock order: the destination's row first, because ending an attempt locks its counts.
            if hold:
                await destinations_repository.hold_destination(
                    connection, destination=destination, seconds=hold, reason=reason
                )
            failure = await _update_circuit(connection, delivery, answer, reason)
            delay = failure.delay(delay)
            change = await repository.record_undelivered(
                connection,
                attempt=delivery.attempt,
                signal=delivery.id,
                claim_id=delivery.claim_id,
                outcome=answer.outcome,
                http_status=answer.http_status,
                error=answer.error,
                response=answer.response,
                status=status,
                reason=reason,
                retry_in_seconds=delay if status == Status.APPROVED else None,
            )
            if change.is_unclear:
                await record_unknown(
                    connection, signal=delivery.id, ticker=delivery.ticker, destination=name, terms=terms
                )
            if change.status in {Status.FAILED, Status.REJECTED} and delivery.type == SignalType.BUY:
                await reject_orphans(self._context, connection, [delivery.ticker], name)
        if failure.probe_delay or hold:
            self._context.delivery_of(name).state = "held"
        log.warning(
            "not delivered",
            signal_id=delivery.id,
            ticker=delivery.ticker,
            attempt=delivery.number,
            outcome=answer.outcome.value,
            status=change.status or "the claim was lost",
            reason=str(reason),
        )
        # After a failure the ticker's next signal is due at once. If a timer is lost, the poll replaces it.
        loop = asyncio.get_running_loop()
        for seconds in {
            delay if change.status == Status.APPROVED else 0.0,
            hold or 0.0,
            failure.probe_delay or 0.0,
        }:
            loop.call_later(seconds, self._context.wakeups.notify, "approved")


async def _hold_of(connection: Connection, answer: Answer, delay: float) -> float | None:
    """Return the seconds for which the answer holds the destination; dates are by the database's clock."""
    if answer.retry_after is None and answer.http_status != 429:
        return None
    now = await read_time(connection)
    return hold_seconds(
        answer.http_status or 0, answer.retry_after, now=now, delay=delay, answered_at=answer.date
    )


async def _update_circuit(
    connection: Connection, delivery: Delivery, answer: Answer, reason: Reason
) -> Failure:
    """Open, extend or close the circuit, as the attempt demands, in the transaction that records it."""
    error = None if answer.error is None else str(answer.error)
    attempt = Attempt(delivery.id, answer.outcome, answer.http_status, error)
    if attempt.is_failure:
        return await _record_failure(connection, delivery, attempt, reason)
    if attempt.is_answer and await destinations_repository.close_circuit(
        connection, destination=delivery.destination.key
    ):
        _log_recovery(delivery.destination)
    return Failure()


async def _record_failure(
    connection: Connection, delivery: Delivery, attempt: Attempt, reason: Reason
) -> Failure:
    """Open the circuit, or delay its next probe. An attempt that started before the probe's time is no probe.

    If several transactions find the circuit due to open, one of them opens it and raises the alarm.
    """
    destination = delivery.destination.key
    circuit = await destinations_repository.lock_circuit(connection, destination=destination)
    if circuit is None or circuit.probe_at is None:
        recent = await destinations_repository.read_recent_attempts(
            connection, destination=destination, limit=_RECENT_ATTEMPTS
        )
        if not should_open_circuit([attempt, *recent]):
            return Failure()
        delay = probe_delay(0)
        if await destinations_repository.open_circuit(
            connection, destination=destination, probe_in=delay, reason=reason
        ):
            metrics.DESTINATION_FAILURES.inc()
            log.error(
                "circuit opened: the destination fails repeatedly",
                destination=delivery.destination.name,
                seconds=delay,
                reason=str(reason),
            )
        return Failure(delay)
    if delivery.started_at < circuit.probe_at:
        return Failure()
    failed_probes = circuit.failed_probes + 1
    delay = probe_delay(failed_probes)
    await destinations_repository.record_failed_probe(
        connection, destination=destination, probe_in=delay, reason=reason
    )
    log.warning("the destination still fails", seconds=delay, probes=failed_probes)
    return Failure(delay, was_probe=True)


def _log_recovery(destination: Destination) -> None:
    log.info("the destination works again", destination=destination.name)


def reason_of(answer: Answer, status: Status) -> Reason:
    """Return the reason of an undelivered attempt: what happened and what follows."""
    what = answer.error or Reason(ReasonCode.HTTP_STATUS, status=answer.http_status)
    match answer.outcome:
        case Outcome.REFUSED:
            return Reason(ReasonCode.REFUSED, what=what)
        case Outcome.NOT_TAKEN:
            return Reason(ReasonCode.NOT_ACCEPTED, what=what)
        case _:
            is_retried = status == Status.APPROVED
            return Reason(ReasonCode.UNKNOWN_RETRIED if is_retried else ReasonCode.UNKNOWN_FINAL, what=what)
