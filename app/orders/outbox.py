"""Claim deliveries that are due and hand them to this process's senders. Token first, then claim."""

import asyncio
import sys
from datetime import timedelta
from typing import NamedTuple
from uuid import uuid4

import structlog

from app import metrics
from app.context import AppContext
from app.db.pool import Connection
from app.orders import repository
from app.orders.destination import (
    Allowance,
    Destination,
    Window,
    compute_allowance,
    destination_of,
    restrict_to_probe,
)
from app.orders.repository import Delivery
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import DecisionResult, Outcome, Status

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
_HEARTBEAT_SECONDS = 10.0
# Added to the request timeout: the time to record the outcome. A sender that needs longer counts as dead.
_LEASE_MARGIN_SECONDS = 10.0
_UNLIMITED = Allowance(sys.maxsize, (), 0.0)


def lease_seconds(context: AppContext) -> float:
    """Return the length of a lease: how long a claimed signal belongs to its sender."""
    return context.config.webhook.timeout + _LEASE_MARGIN_SECONDS


class ClaimResult(NamedTuple):
    """Rows that one claim changed, rejected sells included; `wait_seconds`: until a token is available."""

    rows: int = 0
    wait_seconds: float = 0.0


class Outbox:
    """Claims deliveries for the senders of a process: one claim serves every idle sender."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._claimed: asyncio.Queue[Delivery] = asyncio.Queue()
        self._idle_senders = 0
        self._sender_is_idle = asyncio.Event()

    async def next(self) -> Delivery | None:
        """Wait for a delivery; return None after 10 s without one, so that the sender sends a heartbeat."""
        self._idle_senders += 1
        self._sender_is_idle.set()
        try:
            async with asyncio.timeout(_HEARTBEAT_SECONDS):
                return await self._claimed.get()
        except TimeoutError:
            return None
        finally:
            self._idle_senders -= 1

    async def run(self, name: str) -> None:
        """Claim for idle senders. When cancelled, give back the deliveries that no sender has started."""
        try:
            while True:
                self._context.supervisor.beat(name)
                await self._turn()
        except asyncio.CancelledError:
            while not self._claimed.empty():
                await self._give_back(self._claimed.get_nowait())
            raise

    async def _turn(self) -> None:
        wanted = self._idle_senders - self._claimed.qsize()
        if wanted <= 0:
            await self._wait_for_idle_sender()
        # Fails closed: a pause may be stored in the database's revision alone. Exits wait with it, for about
        # a second after the database answers, because the configuration is read every second.
        elif self._context.config.system.delivery_paused or not self._context.is_configured:
            await asyncio.sleep(POLL_SECONDS)
        else:
            result = await self._claim_uninterrupted(wanted)
            if result.wait_seconds:
                # no wake-up makes a token available sooner
                await asyncio.sleep(min(result.wait_seconds, POLL_SECONDS))
            elif result.rows < wanted:
                await self._context.wakeups.wait("approved", POLL_SECONDS)

    async def _wait_for_idle_sender(self) -> None:
        self._sender_is_idle.clear()
        try:
            async with asyncio.timeout(_HEARTBEAT_SECONDS):
                await self._sender_is_idle.wait()
        except TimeoutError:
            return

    async def _claim_uninterrupted(self, wanted: int) -> ClaimResult:
        """Claim, also when cancelled: an interrupted claim may have been committed."""
        claiming = asyncio.create_task(self.claim(wanted))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait({claiming})
            raise

    async def claim(self, wanted: int) -> ClaimResult:
        """Claim what is due and allowed, for at most `wanted` senders; `next` returns it."""
        config = self._context.config.webhook
        destination = destination_of(config.url)
        wait, deliveries, rejected = 0.0, list[Delivery](), 0
        async with self._context.pool.acquire() as connection:
            if not config.rate_limiting_enabled:
                deliveries, rejected = await self._claim_due(connection, wanted, destination)
            if config.rate_limiting_enabled or (
                not deliveries and await repository.is_circuit_open(connection, destination=destination.key)
            ):
                async with connection.transaction():
                    free = await self._count_tokens(connection, destination)
                    wait = free.wait_seconds
                    if free.tokens:
                        wanted = min(wanted, free.tokens)
                        deliveries, more = await self._claim_due(
                            connection, wanted, destination, has_token=True
                        )
                        rejected += more
        for delivery in deliveries:  # only now: no request is sent before its attempt is committed
            self._claimed.put_nowait(delivery)
        if deliveries or rejected:
            self._context.wakeups.notify("changed")
        return ClaimResult(len(deliveries) + rejected, wait)

    async def _count_tokens(self, connection: Connection, destination: Destination) -> Allowance:
        """Return how many attempts may start now. Holds the limiter's lock until the transaction ends."""
        config = self._context.config.webhook
        windows = Window(config.max_req_per_min, 60), Window(config.max_req_per_hour, 3600)
        await repository.lock_limiter(connection, destination=destination.key)
        ledger = await repository.read_ledger(connection, destination=destination.key, windows=windows)
        if (step_back := ledger.ahead_seconds) > 0:
            await repository.move_ends_back(connection, destination=destination.key, seconds=step_back)
            self._context.clock.note_step(-step_back)
            ledger = await repository.read_ledger(connection, destination=destination.key, windows=windows)
        free = _UNLIMITED
        if config.rate_limiting_enabled:
            free = compute_allowance(
                windows, ledger.usage, open_attempts=ledger.open_attempts, now=ledger.now
            )
        self._context.limited_until = (
            None if free.tokens else ledger.now + timedelta(seconds=free.wait_seconds)
        )
        for label, tokens in zip(("minute", "hour"), free.by_window, strict=False):
            metrics.LIMITER_TOKENS.set(tokens, label)
        return restrict_to_probe(
            free, open_attempts=ledger.open_attempts, probe_at=ledger.probe_at, now=ledger.now
        )

    async def _claim_due(
        self, connection: Connection, limit: int, destination: Destination, *, has_token: bool = False
    ) -> tuple[list[Delivery], int]:
        """Return the claimed deliveries, and how many sells were rejected because they close nothing."""
        claimed = await repository.claim(
            connection,
            claim_id=uuid4(),
            limit=limit,
            lease_seconds=lease_seconds(self._context),
            destination=destination,
            has_token=has_token,
        )
        for signal in claimed.rejected:
            metrics.SIGNALS_DECIDED.labels(DecisionResult.REJECTED).inc()
            log.info("rejected", signal_id=signal.id, ticker=signal.ticker, reason=signal.reason)
        return claimed.deliveries, len(claimed.rejected)

    async def _give_back(self, delivery: Delivery) -> None:
        reason = Reason(ReasonCode.GIVEN_BACK)
        await repository.record_undelivered(
            self._context.pool,
            attempt=delivery.attempt,
            signal=delivery.id,
            claim_id=delivery.claim_id,
            outcome=Outcome.NOT_TAKEN,
            error=reason,
            status=Status.APPROVED,
            reason=reason,
            retry_in_seconds=0.0,
        )
