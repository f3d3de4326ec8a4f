"""Posts alerts at a steady rate and records when each was answered."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import uvloop

from benchmarks.application import WEBHOOK_SECRET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.application import Application


class Posted(NamedTuple):
    """When a post was sent and when its 202 came, in `time.monotonic()`."""

    sent: float
    answered: float


def post_steadily(
    application: Application, *, rate: float, seconds: float, tickers: Sequence[str]
) -> dict[str, Posted]:
    """Post buys on a schedule, independent of the answers; return them by the signal's id.

    Raises:
        RuntimeError: a post was not answered 202.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_post(f"{application.url}/webhook/in", rate, int(rate * seconds), tickers))


async def _post(url: str, rate: float, count: int, tickers: Sequence[str]) -> dict[str, Posted]:
    posted: dict[str, Posted] = {}
    run = uuid.uuid4().hex
    headers = {"X-Webhook-Secret": WEBHOOK_SECRET, "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=200)) as client:

        async def post(number: int) -> None:
            alert = {
                "ticker": tickers[number % len(tickers)],
                "action": "buy",
                "price": 100.25,
                "run": run,
                "n": number,
            }
            sent = time.monotonic()
            async with client.post(url, data=json.dumps(alert)) as answer:
                body = await answer.read()
                moment = time.monotonic()
            if answer.status != 202:
                raise RuntimeError(f"a post was answered {answer.status}: {body!r}")
            posted[json.loads(body)["signal_id"]] = Posted(sent, moment)

        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                await asyncio.sleep(started + number / rate - time.monotonic())
                tasks.create_task(post(number))
    return posted
