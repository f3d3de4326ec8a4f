"""A server behind the edge in the application's place: it may be stopped, hang, or close connections."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from tests.hosts.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@dataclass(frozen=True)
class Passed:
    """A request that the edge passed on."""

    method: str
    path: str
    headers: dict[str, str]  # by names in lower case; several of one name in one text
    body: bytes


async def accept(request: web.Request, number: int) -> web.StreamResponse:
    """Answer as intake does."""
    return web.json_response({"signal_id": f"s{number}", "path": request.path}, status=202)


@dataclass
class Backend:
    """A server that records the requests it gets; `answer` makes each response."""

    name: str
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    passed: list[Passed] = field(default_factory=list)
    answer: Callable[[web.Request, int], Awaitable[web.StreamResponse]] = accept
    _runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        """Its address while it runs."""
        return f"{self.host}:{self.port}"

    @property
    def numbers(self) -> list[int]:
        """The numbers of the alerts that reached it, in order."""
        return [json.loads(each.body)["n"] for each in self.passed if each.path == "/webhook/in"]

    async def start(self) -> None:
        """Start listening."""
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Stop listening, and close every connection."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        names = {name.lower() for name in request.headers}
        headers = {name: ", ".join(request.headers.getall(name)) for name in names}
        self.passed.append(Passed(request.method, request.path, headers, body))
        return await self.answer(request, len(self.passed))


@asynccontextmanager
async def started(*backends: Backend) -> AsyncIterator[None]:
    """Run them until the block ends."""
    try:
        await asyncio.gather(*(each.start() for each in backends))
        yield
    finally:
        await asyncio.gather(*(each.stop() for each in backends))


async def hang_up(request: web.Request, _number: int) -> web.StreamResponse:
    """Close the connection instead of answering, as a process that was killed."""
    if request.transport:
        request.transport.abort()
    return web.Response()
