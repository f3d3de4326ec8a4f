"""A sender: takes a claimed delivery, makes the request, writes the outcome down (SPEC §10)."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import structlog

from app import metrics
from app.failures import describe
from app.orders import payload, signing, transport
from app.orders.breaker import NOT_PREPARED
from app.orders.outbox import Delivery, Outbox
from app.orders.outcomes import Outcomes
from app.orders.policy import Outcome
from app.orders.transport import Answer
from app.positions.state import Effect, effect_of
from app.runtime import Runtime

log = structlog.get_logger(__name__)

_BEAT_SECONDS = 10.0


class _Request(NamedTuple):
    body: bytes
    headers: dict[str, str]
    effect: Effect


class Sender:
    """One of `FORWARDING_WORKERS`. While an outcome is written down the next request is made already."""

    def __init__(self, runtime: Runtime, outbox: Outbox, outcomes: Outcomes) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._outcomes = outcomes
        self._writing: asyncio.Task[None] | None = None

    async def run(self, name: str) -> None:
        """Deliver for ever. Cancelled (TERM), it takes nothing new and sees through what it has begun."""

        def beat() -> None:
            self._runtime.supervisor.beat(name)

        try:
            while True:
                beat()
                delivery = await self._outbox.take()
                if delivery is not None:
                    await _see_through(self._deliver(delivery), beat)
        finally:
            if self._writing:
                await asyncio.wait({self._writing})

    async def _deliver(self, delivery: Delivery) -> None:
        """Make the attempt that the delivery's claim has opened, and let what came of it be written down.

        Returns as soon as the outcome before is written, so that one at the most waits behind a request.
        """
        answer, effect = await _attempt(self._runtime, delivery)
        before, self._writing = self._writing, asyncio.create_task(self._write(delivery, answer, effect))
        if before:
            await before

    async def _write(self, delivery: Delivery, answer: Answer, effect: Effect) -> None:
        try:
            await self._outcomes.record(delivery, answer, effect)
        except Exception as error:  # one bad signal must not stop a sender; recovery ends it after its lease
            self._runtime.unwritten_outcomes[delivery.attempt] = describe(error)
            log.exception("its outcome cannot be written down", signal_id=delivery.id)


async def _attempt(runtime: Runtime, delivery: Delivery) -> tuple[Answer, Effect]:
    try:
        request = _prepare(runtime, delivery)
    except ValueError:  # one bad signal must not stop a sender; nothing has left
        log.exception("cannot be made into a delivery", signal_id=delivery.id)
        return Answer(Outcome.REFUSED, error="its body cannot be made into a delivery"), Effect.NOTHING
    except Exception:  # an exit too is attempted again until it expires: nothing has left
        log.exception("the request cannot be prepared", signal_id=delivery.id)
        return Answer(Outcome.NOT_TAKEN, error=NOT_PREPARED), Effect.NOTHING
    started = time.monotonic()
    answer = await _send(runtime, delivery, request)
    seconds = time.monotonic() - started
    metrics.DELIVERY_SECONDS.observe(seconds)
    metrics.BY_SIDE_DELIVERY_SECONDS.labels(metrics.side_of(delivery.type)).observe(seconds)
    return answer, request.effect


def _prepare(runtime: Runtime, delivery: Delivery) -> _Request:
    settings = runtime.settings
    body = payload.render(
        delivery.body,
        signal_id=delivery.id,
        ticker=delivery.ticker,
        order_type=delivery.type,
        map_action=settings.map_side_to_action_traderspost,
    )
    return _Request(
        body=body,
        headers=signing.headers(
            webhook_id=delivery.webhook_id,
            body=body,
            sent_at=delivery.started_at,
            signing_secret=settings.webhook_signing_secret,
        ),
        effect=effect_of(
            delivery.type,
            has_quantity=payload.has_quantity(body),
            close_on_partial=runtime.config.system.close_on_partial,
        ),
    )


async def _send(runtime: Runtime, delivery: Delivery, request: _Request) -> Answer:
    if delivery.destination.url is None:
        return await transport.post_paper(runtime.pool, request.body, request.headers)
    return await transport.post_http(
        runtime.http, delivery.destination.url, request.body, request.headers, runtime.config.webhook.timeout
    )


async def _see_through(work: Coroutine[Any, Any, None], beat: Callable[[], None]) -> None:
    """Run the work to its end, also when cancelled; beat meanwhile, as a request may take a minute."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            beat()
            await asyncio.wait({task}, timeout=_BEAT_SECONDS)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
    task.result()
