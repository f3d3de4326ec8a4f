"""A steady stream of alerts, sent on a schedule whatever the answers are."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


@dataclass
class Sent:
    """What became of the posts: our ids of those answered 202 by number, and how many others."""

    accepted: dict[int, str] = field(default_factory=dict)
    refused: int = 0  # answered, but not with 202
    unanswered: int = 0  # no answer: the connection was refused or broke


def alert(number: int, tickers: Sequence[str]) -> bytes:
    """An alert as TradingView sends it; `n` tells it from every other one.

    Three of four are buys, so that sells meet open positions, queued buys and nothing at all.
    """
    return (
        f'{{"ticker": "{tickers[number % len(tickers)]}", "n": {number}, "price": 1.10, '
        f'"action": "{"sell" if number % 4 == 3 else "buy"}", "signal_id": "Long", '
        f'"interval": "5", "volume": 123456789012345678901234567890, "note": "entrée ✓"}}'
    ).encode()


async def stream(
    url: str,
    secret: str,
    *,
    tickers: Sequence[str],
    rate: float,
    seconds: float,
    midway: Callable[[], Awaitable[None]],
) -> Sent:
    """Send `rate` alerts a second for `seconds`; `midway` is awaited once, beside the stream, at half time.

    Each alert starts at its own moment, also while the receiver of alerts is away: like real senders, who
    do not wait for one another.
    """
    sent = Sent()
    total = int(rate * seconds)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=200)) as session:

        async def post(number: int) -> None:
            try:
                async with session.post(
                    url, data=alert(number, tickers), headers={"X-Webhook-Secret": secret}
                ) as answer:
                    body = await answer.read()
            except (aiohttp.ClientError, TimeoutError):
                sent.unanswered += 1
                return
            if answer.status == 202:
                sent.accepted[number] = json.loads(body)["signal_id"]
            else:
                sent.refused += 1

        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in range(total):
                await asyncio.sleep(started + number / rate - time.monotonic())
                tasks.create_task(post(number))
                if number == total // 2:
                    tasks.create_task(_run(midway))
    return sent


async def _run(action: Callable[[], Awaitable[None]]) -> None:
    await action()
