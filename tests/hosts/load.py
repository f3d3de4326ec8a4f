"""A steady stream of alerts, sent on a schedule independent of the answers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

PATIENCE_SECONDS = 3.0  # TradingView's, for an answer


@dataclass(frozen=True)
class Refusal:
    """An answer that is not 202, and after how many seconds it came."""

    status: int
    retry_after: str | None
    seconds: float


@dataclass
class Sent:
    """The results of the posts, by number: our ids of those answered 202, the refusals, no answer."""

    accepted: dict[int, str] = field(default_factory=dict)
    refused: dict[int, Refusal] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)  # the connection was refused or broke
    slowest_seconds: float = 0.0

    async def post(
        self, session: aiohttp.ClientSession, url: str, secret: str, number: int, body: bytes
    ) -> None:
        """Send one alert a number of times, and record the result."""
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
    """Return an alert as TradingView sends it; `n` makes it unique.

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

    `midway` is awaited once, in parallel to the stream, at half time. Each alert starts at its own moment,
    also while the receiver of alerts is unavailable: real senders do not wait for one another.
    """
    total = int(rate * seconds)
    async with asyncio.TaskGroup() as tasks:

        def is_over(count: int) -> bool:
            if count == total // 2:
                tasks.create_task(_run(midway))
            return count == total

        return await _send(
            url, secret, is_over, tickers=tickers, rate=rate, first=first, keep_alive=keep_alive
        )


async def _send(
    url: str,
    secret: str,
    is_over: Callable[[int], bool],
    *,
    tickers: Sequence[str],
    rate: float,
    first: int,
    keep_alive: bool,
) -> Sent:
    """Send `rate` alerts a second until `is_over`, which is called before each with the number sent."""
    sent, count = Sent(), 0
    timeout = aiohttp.ClientTimeout(total=10)
    # The certificates of throw-away stacks sign themselves.
    connector = aiohttp.TCPConnector(limit=200, force_close=not keep_alive, ssl=False)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            while not is_over(count):
                await asyncio.sleep(started + count / rate - time.monotonic())
                number = first + count
                tasks.create_task(sent.post(session, url, secret, number, alert(number, tickers)))
                count += 1
    return sent


class Traffic:
    """Use as a context manager: alerts until the block ends; then `sent` has their results.

    To each URL go `rate` a second on new connections, and as many on kept ones.
    """

    def __init__(
        self, *urls: str, secret: str, tickers: Sequence[str] = ("AAPL", "NVDA"), rate: float = 50
    ) -> None:
        self.sent: list[Sent] = []
        self._urls, self._secret, self._tickers, self._rate = urls, secret, tickers, rate
        self._is_over = threading.Event()
        self._first = time.time_ns() // 1_000_000 * 1000  # alerts of one stack differ from block to block
        self._thread = threading.Thread(target=self._run, name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def lost(self) -> list[str]:
        """Return the failed posts: answered not with 202, not at all, or later than 3 s."""
        slowest = (each.slowest_seconds for each in self.sent)
        return [
            *(f"{each.refused[number]}" for each in self.sent for number in sorted(each.refused)),
            *(f"no answer to {number}" for each in self.sent for number in sorted(each.unanswered)),
            *(f"an answer after {one:.1f} s" for one in slowest if one > PATIENCE_SECONDS),
        ]

    @property
    def accepted(self) -> list[str]:
        """Return our ids of those answered 202, sorted."""
        return sorted(signal for each in self.sent for signal in each.accepted.values())

    def _run(self) -> None:
        self.sent = asyncio.run(self._stream())

    async def _stream(self) -> list[Sent]:
        kinds = [(url, keep_alive) for url in self._urls for keep_alive in (False, True)]
        streams = (
            _send(
                url,
                self._secret,
                lambda _: self._is_over.is_set(),
                tickers=self._tickers,
                rate=self._rate,
                first=self._first + index * 1_000_000,
                keep_alive=keep_alive,
            )
            for index, (url, keep_alive) in enumerate(kinds)
        )
        return list(await asyncio.gather(*streams))


async def send_again(url: str, secret: str, numbers: Iterable[int], *, tickers: Sequence[str]) -> Sent:
    """Send the alerts of these numbers once more, all at once."""
    sent = Sent()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        posts = (sent.post(session, url, secret, number, alert(number, tickers)) for number in numbers)
        await asyncio.gather(*posts)
    return sent


async def _run(action: Callable[[], Awaitable[None]]) -> None:
    await action()
