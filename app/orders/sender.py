"""The workers of a delivery. A sender takes a claimed delivery, sends the request and records the outcome."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

import structlog

from app import metrics
from app.config.destinations import DEFAULT_DESTINATION
from app.context import AppContext
from app.errors import describe
from app.orders import outgoing, recovery, transport
from app.orders.clock_watch import ClockWatch
from app.orders.kept_outcomes import KnownOutcome
from app.orders.outbox import Outbox
from app.orders.outcomes import Outcomes
from app.orders.repository import Delivery
from app.orders.transport import Answer
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome

log = structlog.get_logger(__name__)

_HEARTBEAT_SECONDS = 10.0
_SECONDS_BY_SIDE = {side: metrics.BY_SIDE_DELIVERY_SECONDS.labels(side) for side in metrics.SIDES}


class _Request(NamedTuple):
    body: bytes
    headers: dict[str, str]


def start(context: AppContext) -> None:
    """Start `outbox`, `sender-1` … `FORWARDING_WORKERS` and `delivery-recovery` under the supervisor.

    Recovery starts the same for each destination that is added later. One that is removed claims nothing.
    """
    outcomes = Outcomes(context)
    outcomes.load_kept()
    started = set[str]()

    def start_missing() -> None:
        for destination in context.config.destinations:
            if destination.name not in started:
                started.add(destination.name)
                _start_destination(context, outcomes, destination.name)

    start_missing()
    name = "delivery-recovery"
    run = partial(recovery.run, context, name, outcomes, ClockWatch(), start_missing)
    context.supervisor.start(name, run)


def _start_destination(context: AppContext, outcomes: Outcomes, destination: str) -> None:
    outbox = Outbox(context, destination)
    of = "" if destination == DEFAULT_DESTINATION else f"{destination}-"
    name = "outbox" if destination == DEFAULT_DESTINATION else f"outbox-{destination}"
    context.supervisor.start(name, partial(outbox.run, name))
    for number in range(1, context.settings.forwarding_workers + 1):
        name = f"sender-{of}{number}"
        context.supervisor.start(name, partial(Sender(context, outbox, outcomes).run, name))


class Sender:
    """One of a destination's `FORWARDING_WORKERS`. It sends on while an outcome is being recorded."""

    def __init__(self, context: AppContext, outbox: Outbox, outcomes: Outcomes) -> None:
        self._context = context
        self._outbox = outbox
        self._outcomes = outcomes
        self._writing: asyncio.Task[None] | None = None

    async def run(self, name: str) -> None:
        """Deliver until cancelled (TERM); then finish the delivery that has started and take no other."""

        def beat() -> None:
            self._context.supervisor.beat(name)

        try:
            while True:
                beat()
                delivery = await self._outbox.next()
                if delivery is not None:
                    await _run_uninterrupted(self._deliver(delivery), beat)
        finally:
            if self._writing:
                await asyncio.wait({self._writing})

    async def _deliver(self, delivery: Delivery) -> None:
        """Make the attempt that the claim has opened, and start to record its outcome.

        Returns once the previous outcome is recorded, so that at most one is pending during a request.
        """
        with self._outcomes.request(delivery.destination.name):
            answer = await _attempt(self._context, delivery)
        before, self._writing = self._writing, asyncio.create_task(self._write(delivery, answer))
        if before:
            await before

    async def _write(self, delivery: Delivery, answer: Answer) -> None:
        try:
            await self._outcomes.store(KnownOutcome(delivery, answer))
        except Exception as error:  # one bad signal must not stop a sender; recovery ends it after its lease
            self._context.unwritten_outcomes[delivery.attempt] = describe(error)
            log.exception("outcome cannot be stored", signal_id=delivery.id)


async def _attempt(context: AppContext, delivery: Delivery) -> Answer:
    try:
        request = _prepare(context, delivery)
    except ValueError:  # Fails closed: nothing was sent, and no retry can make this body valid
        log.exception("alert cannot be written as a request", signal_id=delivery.id)
        return Answer(Outcome.REFUSED, error=Reason(ReasonCode.BODY_NOT_SENDABLE))
    except Exception:  # Fails open: nothing was sent, so the signal (an exit too) is retried until it expires
        log.exception("request cannot be prepared", signal_id=delivery.id)
        return Answer(Outcome.NOT_TAKEN, error=Reason(ReasonCode.NOT_PREPARED))
    started = time.monotonic()
    answer = await _send(context, delivery, request)
    seconds = time.monotonic() - started
    metrics.DELIVERY_SECONDS.observe(seconds)
    _SECONDS_BY_SIDE[metrics.side_of(delivery.type)].observe(seconds)
    return answer


def _prepare(context: AppContext, delivery: Delivery) -> _Request:
    config, settings = context.config, context.settings
    destination = config.destination(delivery.destination.name) or config.destinations[0]
    body = outgoing.render(
        delivery.body,
        signal_id=delivery.id,
        order_type=delivery.type,
        map_action=destination.profile == "traderspost",
        intent=delivery.terms.intent if delivery.terms else None,
    )
    return _Request(
        body=body,
        headers=transport.make_headers(
            webhook_id=delivery.webhook_id,
            body=body,
            sent_at=delivery.started_at,
            signing_secret=settings.webhook_signing_secret,
        ),
    )


async def _send(context: AppContext, delivery: Delivery, request: _Request) -> Answer:
    if delivery.destination.url is None:
        return await transport.post_paper(context.pool, request.body, request.headers)
    return await transport.post_http(
        context.http,
        delivery.destination.url,
        request.body,
        request.headers,
        context.config.timeout_of(delivery.destination.name),
    )


async def _run_uninterrupted(work: Coroutine[Any, Any, None], beat: Callable[[], None]) -> None:
    """Run the work to its end, also when cancelled; send heartbeats, as a request may take a minute."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            beat()
            await asyncio.wait({task}, timeout=_HEARTBEAT_SECONDS)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
    task.result()
