"""A destination: a real HTTP server on loopback that records requests and answers as configured."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came; `at` in seconds of `time.monotonic()`."""

    at: float
    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        """Return the id that stays the same over retries."""
        return self.headers["webhook-id"]

    @property
    def alert(self) -> dict[str, Any]:
        """Return the parsed body."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


async def take(_: Received) -> web.StreamResponse:
    """Return the answer of a working destination."""
    return web.json_response({"success": True})


def always(status: int, **headers: str) -> Callable[[Received], Awaitable[web.StreamResponse]]:
    """Answer everything with one status."""

    async def answer(_: Received) -> web.StreamResponse:
        return web.Response(status=status, headers=headers)

    return answer


def in_turn(*statuses: int) -> Callable[[Received], Awaitable[web.StreamResponse]]:
    """Answer with these statuses, one after the other, then always with 200."""
    left = list(statuses)

    async def answer(_: Received) -> web.StreamResponse:
        return web.Response(status=left.pop(0) if left else 200)

    return answer


@dataclass(slots=True)
class Receiver:
    """`answer` may be changed at any time; `opened` is set while a request waits for its answer."""

    url: str = ""
    answer: Callable[[Received], Awaitable[web.StreamResponse]] = take
    received: list[Received] = field(default_factory=list)
    _arrival: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Record the request, then answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(time.monotonic(), headers, await request.read())
        async with self._arrival:
            self.received.append(received)
            self._arrival.notify_all()
        return await self.answer(received)

    async def count(self, expected: int) -> list[Received]:
        """Wait until so many requests have come."""
        async with asyncio.timeout(WAIT_SECONDS), self._arrival:
            await self._arrival.wait_for(lambda: len(self.received) >= expected)
        return self.received


@asynccontextmanager
async def listening(port: int = 0) -> AsyncIterator[Receiver]:
    """Run a receiver on a loopback port until the block ends."""
    receiver = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?password=hidden"
        yield receiver
    finally:
        await runner.cleanup()
