"""Claim deliveries that are due and hand them to this process's senders. Token first, then claim."""

import asyncio
import sys
import time
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import structlog

from app import metrics
from app.config.destinations import DEFAULT_DESTINATION, DestinationConfig
from app.context import AppContext
from app.db.pool import Connection
from app.orders import destinations_repository, repository
from app.orders.destination import (
    Allowance,
    Destination,
    Tokens,
    Window,
    compute_allowance,
    destination_of,
    restrict_to_probe,
)
from app.orders.repository import ClaimedOrders, Delivery, DueSignal, Verdict
from app.signals.alert import read_order
from app.signals.book import BookRules, OrderTerms, resolve_claimed, stored_terms
from app.signals.reasons import Reason, ReasonCode, remark_details
from app.signals.statuses import DecisionResult, Outcome, SignalType, Status

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
_HEARTBEAT_SECONDS = 10.0
# A single order is claimed at once. In a stream of orders a claim for each costs more than to send it: within
# this time after a claim, the next one waits for the senders that are still sending.
_CLAIM_INTERVAL_SECONDS = 0.008
# Added to the request timeout: the time to record the outcome. A sender that needs longer counts as dead.
_LEASE_MARGIN_SECONDS = 10.0
_MINUTE, _HOUR = 60, 3600
_UNLIMITED = Allowance(sys.maxsize, (), 0.0)


def lease_seconds(context: AppContext, destination: str) -> float:
    """Return the length of a lease: how long a claimed order belongs to its sender."""
    return context.config.timeout_of(destination) + _LEASE_MARGIN_SECONDS


class ClaimResult(NamedTuple):
    """Rows that one claim changed, rejected signals included, and the seconds until a token is available.

    `has_more`: it took as many as it could, and another one was due. `entry_wait_seconds`: until a token is
    available for an entry, never less than `wait_seconds`.
    """

    rows: int = 0
    has_more: bool = False
    wait_seconds: float = 0.0
    entry_wait_seconds: float = 0.0


class _Claimed(NamedTuple):
    """Deliveries, and how many signals were rejected because of the position.

    `has_more`: these were as many as wanted, and another one was due.
    """

    deliveries: list[Delivery]
    rejected: int
    has_more: bool = False

    @property
    def rows(self) -> int:
        return len(self.deliveries) + self.rejected

    def and_then(self, later: "_Claimed") -> "_Claimed":
        """Return the sum of this claim and a later one."""
        return _Claimed(
            self.deliveries + later.deliveries,
            self.rejected + later.rejected,
            has_more=self.has_more or later.has_more,
        )


class Outbox:
    """Claims deliveries for a destination's senders of a process: one claim serves every idle sender.

    Each destination has its own, so that none waits for the limits, the circuit or the answers of another.
    """

    def __init__(self, context: AppContext, destination: str = DEFAULT_DESTINATION) -> None:
        self._context = context
        self._name = destination
        self._claimed: asyncio.Queue[Delivery] = asyncio.Queue()
        self._idle_senders = 0
        self._sender_is_idle = asyncio.Event()
        self._claimed_at = 0.0  # `time.monotonic()`

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
        since_claim = time.monotonic() - self._claimed_at
        if wanted <= 0:
            await self._wait_for_idle_sender(_HEARTBEAT_SECONDS)
        elif wanted < self._context.settings.forwarding_workers and since_claim < _CLAIM_INTERVAL_SECONDS:
            await self._wait_for_idle_sender(_CLAIM_INTERVAL_SECONDS - since_claim)
        # Fails closed: a pause may be stored in the database's revision alone. Exits wait with it, for about
        # a second after the database answers, because the configuration is read every second.
        elif (
            self._context.config.system.delivery_paused
            or not self._context.is_configured
            or self._context.config.destination(self._name) is None  # removed: its orders expire
        ):
            await asyncio.sleep(POLL_SECONDS)
        else:
            began = time.monotonic()
            result = await self._claim_uninterrupted(wanted)
            self._claimed_at = began if result.rows else self._claimed_at
            if result.wait_seconds:
                # no wake-up makes a token available sooner
                await asyncio.sleep(min(result.wait_seconds, POLL_SECONDS))
            elif not result.has_more:
                longest = min(result.entry_wait_seconds or POLL_SECONDS, POLL_SECONDS)
                await self._context.wakeups.wait("approved", longest)

    async def _wait_for_idle_sender(self, seconds: float) -> None:
        """Wait until another sender is idle, for at most so many seconds."""
        self._sender_is_idle.clear()
        try:
            async with asyncio.timeout(seconds):
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
        config = self._context.config.destination(self._name)
        if config is None:
            return ClaimResult()
        destination = destination_of(config.url, config.name)
        wait, claimed = (0.0, 0.0), _Claimed([], 0)
        async with self._context.pool.acquire() as connection:
            if not config.rate_limiting_enabled:
                claimed = await self._claim_due(
                    connection,
                    wanted,
                    destination,
                    config,
                    exits_only=self._context.config.system.buys_paused,
                )
            if config.rate_limiting_enabled or (
                not claimed.deliveries
                and await destinations_repository.is_circuit_open(connection, destination=destination.key)
            ):
                async with connection.transaction():
                    tokens = await self._count_tokens(connection, destination, config)
                    wait = tokens.exits.wait_seconds, tokens.entries.wait_seconds
                    claimed = claimed.and_then(
                        await self._claim_allowed(connection, wanted, destination, config, tokens)
                    )
        for delivery in claimed.deliveries:  # only now: no request is sent before its attempt is committed
            self._claimed.put_nowait(delivery)
        if claimed.rows:
            self._context.wakeups.notify("changed")
        # Fails open: no destination waits for the limiter of another. Instead its claim passes over signals
        # that this one had locked, and looks again now.
        if claimed.rejected or any(delivery.is_shared for delivery in claimed.deliveries):
            self._context.wakeups.notify("approved")
        return ClaimResult(claimed.rows, claimed.has_more, *wait)

    async def _claim_allowed(
        self,
        connection: Connection,
        wanted: int,
        destination: Destination,
        config: DestinationConfig,
        tokens: Tokens,
    ) -> _Claimed:
        """Claim for at most `wanted` senders; with the tokens that are left to exits, exits alone.

        Fails open: an exit may use every token, and no entry that has to wait is in its way.
        """
        is_buying = not self._context.config.system.buys_paused
        both = min(wanted, tokens.entries.tokens) if is_buying else 0
        claimed = _Claimed([], 0)
        if both:
            claimed = await self._claim_due(connection, both, destination, config, has_token=True)
        exits = min(wanted, tokens.exits.tokens) - claimed.rows
        if claimed.rows == both and exits > 0:
            claimed = claimed.and_then(
                await self._claim_due(connection, exits, destination, config, has_token=True, exits_only=True)
            )
        return claimed

    async def _count_tokens(
        self, connection: Connection, destination: Destination, config: DestinationConfig
    ) -> Tokens:
        """Return how many attempts may start now. Holds the limiter's lock until the transaction ends."""
        exits = (
            Window(config.max_req_per_min, _MINUTE, config.exit_reserve.per_min),
            Window(config.max_req_per_hour, _HOUR, config.exit_reserve.per_hour),
        )
        entries = tuple(window.for_entries for window in exits)
        windows = exits + entries
        await destinations_repository.lock_limiter(connection, destination=destination.key)
        ledger = await destinations_repository.read_ledger(
            connection, destination=destination.key, windows=windows
        )
        if (step_back := ledger.ahead_seconds) > 0:
            await destinations_repository.move_ends_back(
                connection, destination=destination.key, seconds=step_back
            )
            self._context.clock.note_step(-step_back)
            ledger = await destinations_repository.read_ledger(
                connection, destination=destination.key, windows=windows
            )
        free = Tokens(_UNLIMITED, _UNLIMITED)
        if config.rate_limiting_enabled:
            count = partial(compute_allowance, open_attempts=ledger.open_attempts, now=ledger.now)
            used, used_by_entries = ledger.usage[: len(exits)], ledger.usage[len(exits) :]
            free = Tokens(count(exits, used), count(entries, used_by_entries))
        self._show(free, ledger.now)
        restrict = partial(
            restrict_to_probe, open_attempts=ledger.open_attempts, probe_at=ledger.probe_at, now=ledger.now
        )
        return Tokens(restrict(free.exits), restrict(free.entries))

    def _show(self, tokens: Tokens, now: datetime) -> None:
        """Let alarms and metrics show the tokens that the limits leave."""
        state = self._context.delivery_of(self._name)
        state.limited_until, state.entries_limited_until = (
            None if each.tokens else now + timedelta(seconds=each.wait_seconds) for each in tokens
        )
        for gauge, each in zip((metrics.LIMITER_TOKENS, metrics.LIMITER_ENTRY_TOKENS), tokens, strict=True):
            for label, left in zip(("minute", "hour"), each.by_window, strict=False):
                gauge.set(left, label, self._name)

    async def _claim_due(
        self,
        connection: Connection,
        limit: int,
        destination: Destination,
        config: DestinationConfig,
        *,
        has_token: bool = False,
        exits_only: bool = False,
    ) -> _Claimed:
        """Claim at most `limit` of what is due; one more is read, to know whether to look again."""
        rules = self._context.config.system.book_rules
        claimed, read = ClaimedOrders([], []), limit + 1
        while True:
            due = await repository.find_due(
                connection,
                limit=read,
                destination=destination,
                has_token=has_token,
                exits_only=exits_only,
                gap_seconds=config.ticker_gap_seconds,
            )
            if due:
                claimed = await repository.claim(
                    connection,
                    claim_id=uuid4(),
                    lease_seconds=lease_seconds(self._context, self._name),
                    destination=destination,
                    verdicts=[_resolve(signal, rules) for signal in due],
                    limit=limit,
                )
            # what is claimed is committed, and is sent whatever fails after it
            if len(due) < read or any(claimed):
                break
            read *= 2  # other transactions hold the first ones: what comes after them does not wait
        changed = len(claimed.deliveries) + len(claimed.rejected)
        if 0 < changed < limit and len(due) == read:
            self._context.wakeups.notify("approved")  # some were held: look again now
        for verdict in claimed.rejected:
            metrics.SIGNALS_DECIDED.labels(DecisionResult.REJECTED).inc()
            log.info(
                "rejected",
                signal_id=verdict.signal.id,
                ticker=verdict.signal.ticker,
                reason=str(verdict.reason),
            )
        return _Claimed(claimed.deliveries, len(claimed.rejected), has_more=limit <= changed < len(due))

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


def _resolve(signal: DueSignal, rules: BookRules) -> Verdict:
    """Resolve a due signal once more: its earlier orders may have ended otherwise than projected.

    A person's sell needs no position.
    """
    reading = read_order(signal.body, signal.type)
    if signal.type == SignalType.MANUAL_SELL:
        rules = rules._replace(unmatched_exits="forward")
    decided = stored_terms(signal.type, signal.intent).intent
    resolution = resolve_claimed(
        decided,
        reading,
        signal.held.position if signal.held else None,
        rules,
        is_retry_of_unknown=signal.is_retry_of_unknown,
    )
    if resolution.intent is None:
        reason = resolution.reason or Reason(ReasonCode.NOTHING_OPEN)
        if reason.code is ReasonCode.NOTHING_OPEN:
            is_undelivered = signal.is_buy_undelivered
            reason = Reason(ReasonCode.BUY_UNDELIVERED if is_undelivered else ReasonCode.CLOSED_BEFORE)
        return Verdict(signal, None, reason, {})
    detail: dict[str, Any] = {}
    if resolution.intent is not decided:
        remarks = resolution.remarks[len(reading.remarks) :]
        detail = {"intent": resolution.intent.value, **remark_details(remarks)}
    terms = OrderTerms(resolution.intent, reading.quantity, reading.sentiment, signal.price)
    return Verdict(signal, terms, Reason(ReasonCode.SENDING), detail)
