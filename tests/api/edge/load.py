"""Posts at a steady rate through the edge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.hosts.load import Sent, stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


TICKERS = ("AAPL", "MSFT")
RATE = 25  # posts a second on new connections, and as many on kept ones


async def both_kinds(url: str, seconds: float, midway: Callable[[], Awaitable[None]]) -> tuple[Sent, Sent]:
    """Send posts at RATE on new connections and on kept ones."""

    async def nothing() -> None:
        return

    def load(first: int, *, keep_alive: bool, act: Callable[[], Awaitable[None]]) -> Awaitable[Sent]:
        address = f"{url}/webhook/in"
        return stream(
            address,
            "",
            tickers=TICKERS,
            rate=RATE,
            seconds=seconds,
            midway=act,
            first=first,
            keep_alive=keep_alive,
        )

    return await asyncio.gather(
        load(0, keep_alive=False, act=midway), load(100_000, keep_alive=True, act=nothing)
    )


def assert_all_accepted(sent: tuple[Sent, Sent], seconds: int) -> None:
    """Assert that every post of these seconds got its 202 within TradingView's time limit."""
    for each in sent:
        assert (each.refused, each.unanswered, len(each.accepted)) == ({}, set(), RATE * seconds)
        assert each.slowest_seconds < 3
