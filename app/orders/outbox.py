"""Claims deliveries that are due and hands them to this process's senders. Token first, then claim."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
import structlog

from app import metrics
from app.context import AppContext
from app.db.pool import Connection
from app.db.queries import load
from app.orders.breaker import GIVEN_BACK, probe_allowance
from app.orders.destination import Destination, destination_of
from app.orders.limiter import Allowance, Usage, Window, allowance
from app.signals.statuses import DecisionResult, Outcome, Status

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
_BEAT_SECONDS = 10.0
# Beyond the request's own time-out: to write the outcome down. Whoever needs longer is taken for dead.
_LEASE_MARGIN_SECONDS = 10.0
_SQL = load("app.orders")
_UNLIMITED = Allowance(sys.maxsize, (), 0.0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed signal with its open attempt. `number` counts the attempts of its round, from 1."""

    id: UUID
    type: str
    ticker: str
    body: bytes
    number: int
    attempt: int
    webhook_id: str
    started_at: datetime
    claim_id: UUID
    destination: Destination


class ClaimResult(NamedTuple):
    """What one claim gave. `rows` counts sells that ended too; `wait_seconds` is for a token."""

    rows: int = 0
    wait_seconds: float = 0.0


class Outbox:
    """Between the database and the senders: one claim serves every sender that is idle."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._claimed: asyncio.Queue[Delivery] = asyncio.Queue()
        self._idle = 0
        self._somebody_idle = asyncio.Event()

    async def next(self) -> Delivery | None:
        """Wait for a delivery; None after 10 s without one, so that the sender can show that it lives."""
        self._idle += 1
        self._somebody_idle.set()
        try:
            async with asyncio.timeout(_BEAT_SECONDS):
                return await self._claimed.get()
        except TimeoutError:
            return None
        finally:
            self._idle -= 1

    async def run(self, name: str) -> None:
        """Claim for senders that are idle. Cancelled, it gives back what no sender has begun."""
        try:
            while True:
                self._context.supervisor.beat(name)
                await self._turn()
        except asyncio.CancelledError:
            while not self._claimed.empty():
                await self._give_back(self._claimed.get_nowait())
            raise

    async def _turn(self) -> None:
        wanted = self._idle - self._claimed.qsize()
        if wanted <= 0:
            await self._until_somebody_is_idle()
        # Fails closed: a pause may be in the revision alone. Exits wait with it, for a second once the
        # database answers, since the configuration is looked at each second.
        elif self._context.config.system.delivery_paused or not self._context.is_configured:
            await asyncio.sleep(POLL_SECONDS)
        else:
            found = await self._claim_to_the_end(wanted)
            if found.wait_seconds:
                # no news makes a token come sooner, so nothing is listened to
                await asyncio.sleep(min(found.wait_seconds, POLL_SECONDS))
            elif found.rows < wanted:
                await self._context.wakeups.wait("approved", POLL_SECONDS)

    async def _until_somebody_is_idle(self) -> None:
        self._somebody_idle.clear()
        try:
            async with asyncio.timeout(_BEAT_SECONDS):
                await self._somebody_idle.wait()
        except TimeoutError:
            return

    async def _claim_to_the_end(self, wanted: int) -> ClaimResult:
        """Claim; one that is cut off may have been committed all the same, so it is seen through first."""
        claiming = asyncio.create_task(self.claim(wanted))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait({claiming})
            raise

    async def claim(self, wanted: int) -> ClaimResult:
        """Claim what is due and allowed, for so many senders at the most; `next` hands it out."""
        config = self._context.config.webhook
        destination = destination_of(config.url)
        wait, deliveries, rejected = 0.0, list[Delivery](), 0
        async with self._context.pool.acquire() as connection:
            if not config.rate_limiting_enabled:
                deliveries, rejected = await self._claim_due(connection, wanted, destination)
            if config.rate_limiting_enabled or (
                not deliveries and await connection.fetchval(_SQL["is_failing"], destination.key)
            ):
                async with connection.transaction():
                    free = await self._tokens(connection, destination)
                    wait = free.wait_seconds
                    if free.tokens:
                        wanted = min(wanted, free.tokens)
                        deliveries, more = await self._claim_due(
                            connection, wanted, destination, has_tokens=True
                        )
                        rejected += more
        for delivery in deliveries:  # only now: nothing leaves before its attempt is committed
            self._claimed.put_nowait(delivery)
        if deliveries or rejected:
            self._context.wakeups.notify("changed")
        return ClaimResult(len(deliveries) + rejected, wait)

    async def _tokens(self, connection: Connection, destination: Destination) -> Allowance:
        config = self._context.config.webhook
        windows = Window(config.max_req_per_min, 60), Window(config.max_req_per_hour, 3600)
        await connection.execute(_SQL["lock_limiter"], destination.key)
        ledger = await self._ledger(connection, destination, windows)
        first = ledger[0]
        if first["ahead_seconds"] > 0:
            await connection.execute(_SQL["pull_back"], destination.key, first["ahead_seconds"])
            self._context.clock.note_step(-first["ahead_seconds"])
            ledger = await self._ledger(connection, destination, windows)
            first = ledger[0]
        open_attempts, now = first["open"], first["now"]
        free = _UNLIMITED
        if config.rate_limiting_enabled:
            usage = [Usage(int(row["ended"]), row["leaves_at"]) for row in ledger]
            free = allowance(windows, usage, open_attempts=open_attempts, now=now)
        self._context.limited_until = None if free.tokens else now + timedelta(seconds=free.wait_seconds)
        for label, tokens in zip(("minute", "hour"), free.by_window, strict=False):
            metrics.LIMITER_TOKENS.set(tokens, label)
        return probe_allowance(free, open_attempts=open_attempts, probe_at=first["probe_at"], now=now)

    @staticmethod
    async def _ledger(
        connection: Connection, destination: Destination, windows: Sequence[Window]
    ) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await connection.fetch(
            _SQL["ledger"],
            destination.key,
            [window.seconds for window in windows],
            [window.limit for window in windows],
        )
        return rows

    async def _claim_due(
        self, connection: Connection, limit: int, destination: Destination, *, has_tokens: bool = False
    ) -> tuple[list[Delivery], int]:
        """Return the deliveries claimed, and how many sells ended because there was nothing to close.

        Without tokens, which are given out under the limiter's lock, nothing goes to a failing destination.
        """
        claim_id, lease = uuid4(), self._context.config.webhook.timeout + _LEASE_MARGIN_SECONDS
        deliveries, rejected = list[Delivery](), 0
        for row in await connection.fetch(_SQL["claim"], claim_id, limit, lease, destination.key, has_tokens):
            if row["attempt"] is None:
                rejected += 1
                metrics.SIGNALS_DECIDED.labels(DecisionResult.REJECTED).inc()
                log.info("rejected", signal_id=row["id"], ticker=row["ticker"], reason=row["reason"])
                continue
            deliveries.append(
                Delivery(
                    id=row["id"],
                    type=row["type"],
                    ticker=row["ticker"],
                    body=row["body"],
                    number=row["number"],
                    attempt=row["attempt"],
                    webhook_id=row["webhook_id"],
                    started_at=row["started_at"],
                    claim_id=claim_id,
                    destination=destination,
                )
            )
        return deliveries, rejected

    async def _give_back(self, delivery: Delivery) -> None:
        why = GIVEN_BACK
        await self._context.pool.fetch(
            _SQL["undelivered"],
            *(delivery.attempt, delivery.id, delivery.claim_id),
            *(Outcome.NOT_TAKEN, None, why, None),
            *(Status.APPROVED, why, 0.0),
        )
