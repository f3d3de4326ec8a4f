"""A steady stream of alerts, sent on a schedule whatever the answers are."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence


@dataclass(frozen=True)
class Refusal:
    """An answer that is not 202, and after how many seconds it came."""

    status: int
    retry_after: str | None
    seconds: float


@dataclass
class Sent:
    """What became of the posts, by their numbers: our ids of those answered 202, the refusals, no answer."""

    accepted: dict[int, str] = field(default_factory=dict)
    refused: dict[int, Refusal] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)  # the connection was refused or broke
    slowest_seconds: float = 0.0

    async def post(
        self, session: aiohttp.ClientSession, url: str, secret: str, number: int, body: bytes
    ) -> None:
        """Send one alert, as often as you like, and note what became of it."""
        started = time.monotonic()
        try:
            async with session.post(url, data=body, headers={"X-Webhook-Secret": secret}) as answer:
                said = await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            self.unanswered.add(number)
            return
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)
        if answer.status == 202:
            self.accepted[number] = json.loads(said)["signal_id"]
        else:
            retry_after = answer.headers.get("Retry-After")
            self.refused[number] = Refusal(answer.status, retry_after, time.monotonic() - started)


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
    first: int = 0,
    keep_alive: bool = True,
) -> Sent:
    """Send `rate` alerts a second for `seconds`, numbered from `first`; each on a new connection if asked.

    `midway` is awaited once, beside the stream, at half time. Each alert starts at its own moment, also while
    the receiver of alerts is away: like real senders, who do not wait for one another.
    """
    sent = Sent()
    total = int(rate * seconds)
    timeout = aiohttp.ClientTimeout(total=10)
    # The certificates of throw-away stacks sign themselves.
    connector = aiohttp.TCPConnector(limit=200, force_close=not keep_alive, ssl=False)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for count in range(total):
                await asyncio.sleep(started + count / rate - time.monotonic())
                number = first + count
                tasks.create_task(sent.post(session, url, secret, number, alert(number, tickers)))
                if count == total // 2:
                    tasks.create_task(_run(midway))
    return sent


async def send_again(url: str, secret: str, numbers: Iterable[int], *, tickers: Sequence[str]) -> Sent:
    """Send the alerts of these numbers once more, all at once."""
    sent = Sent()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        posts = (sent.post(session, url, secret, number, alert(number, tickers)) for number in numbers)
        await asyncio.gather(*posts)
    return sent


async def _run(action: Callable[[], Awaitable[None]]) -> None:
    await action()
