"""A sender: takes a claimed delivery, makes the request, writes the outcome down (SPEC §10)."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import structlog

from app import metrics
from app.delivery import payload, signing, transport
from app.delivery.outbox import Delivery, Outbox
from app.delivery.outcomes import Outcomes
from app.delivery.policy import Outcome
from app.delivery.transport import Answer
from app.positions.state import Effect, effect_of
from app.runtime import Runtime

log = structlog.get_logger(__name__)

_BEAT_SECONDS = 10.0


class _Request(NamedTuple):
    body: bytes
    headers: dict[str, str]
    effect: Effect


async def run(runtime: Runtime, outbox: Outbox, outcomes: Outcomes, name: str) -> None:
    """Deliver for ever. Cancelled (TERM), it takes nothing new and sees the open request through."""

    def beat() -> None:
        runtime.supervisor.beat(name)

    while True:
        beat()
        delivery = await outbox.take()
        if delivery is not None:
            await _see_through(deliver(runtime, outcomes, delivery), beat)


async def deliver(runtime: Runtime, outcomes: Outcomes, delivery: Delivery) -> None:
    """Make the attempt that the delivery's claim has opened, and record what came of it."""
    try:
        request = _prepare(runtime, delivery)
    except ValueError:  # one bad signal must not stop a sender; nothing has left
        log.exception("cannot be made into a delivery", signal_id=delivery.id)
        answer = Answer(Outcome.REFUSED, error="its body cannot be made into a delivery")
        await outcomes.record(delivery, answer, Effect.NOTHING)
        return
    started = time.monotonic()
    answer = await _send(runtime, delivery, request)
    metrics.DELIVERY_SECONDS.observe(time.monotonic() - started)
    await outcomes.record(delivery, answer, request.effect)


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
