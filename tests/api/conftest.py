"""The real application on a free loopback port, with a real database behind it."""

from __future__ import annotations

import asyncio
import io
import socket
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from app import logging
from app.config import model
from app.config.store import opening
from app.main import create_app
from app.settings import Settings
from app.web.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from app.context import AppContext

logging.configure("INFO")  # as `python -m app serve` does; structlog's own format is for terminals

ADMIN_TOKEN = "admin-token-of-the-tests"


@dataclass(frozen=True, slots=True)
class AppServer:
    """A running application: where it listens, and a client session whose base URL it is."""

    url: str
    app: FastAPI
    server: Server
    http: aiohttp.ClientSession

    @property
    def context(self) -> AppContext:
        """The objects that all parts of the application share."""
        context: AppContext = self.app.state.context
        return context

    def stop(self) -> None:
        """Request its end, as TERM does."""
        self.server.should_exit = True


@asynccontextmanager
async def serve(settings: Settings) -> AsyncIterator[AppServer]:
    """Run the application in this event loop until the block ends; it is shut down as on TERM."""
    app = create_app(settings, await opening(settings))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(app, settings)
        started = asyncio.Event()
        startup = server.startup

        async def startup_and_tell(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets)
            started.set()

        server.startup = startup_and_tell  # type: ignore[method-assign]  # uvicorn has no event for it
        serving = asyncio.create_task(server._serve([listener]))  # noqa: SLF001  # serve() would take over the signals
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not started.is_set():
            await serving
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with aiohttp.ClientSession(url) as http:
                yield AppServer(url, app, server, http)
        finally:
            server.should_exit = True
            await serving
            waiting.cancel()


@pytest.fixture(autouse=True)
def never_the_real_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the default strategy, which uses Finviz, by one that is refused before any request."""
    monkeypatch.setitem(model.BUILT_IN_STRATEGY, "url", "https://127.0.0.1/screener.ashx?v=111")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Record all log output, from DEBUG up; request it before a fixture that starts an application."""
    lines = io.StringIO()
    with redirect_stdout(lines):
        logging.configure("DEBUG")  # which writes to the stream that is stdout at this moment
        yield lines
    logging.configure("INFO")


@pytest.fixture
def make_settings(database_url: str, tmp_path: Path) -> Callable[..., Settings]:
    """Return settings for the test's database and an empty configuration folder; keywords override."""

    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {
            "database_url": database_url,
            "admin_token": ADMIN_TOKEN,
            "config_dir": tmp_path,
            "data_dir": tmp_path / "data",
            "enable_prometheus": False,
            **changes,
        }
        return Settings(**values)

    return make


@pytest_asyncio.fixture
async def start_app(
    make_settings: Callable[..., Settings],
) -> AsyncIterator[Callable[..., Awaitable[AppServer]]]:
    """Start applications, each with its own changes to the settings; all end with the test."""
    async with AsyncExitStack() as stack:

        async def start(**changes: Any) -> AppServer:
            return await stack.enter_async_context(serve(make_settings(**changes)))

        yield start


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Open a connection to the test's own database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def app_server(start_app: Callable[..., Awaitable[AppServer]]) -> AppServer:
    """Start one application with default settings: paper, no secret, default limits."""
    return await start_app()
