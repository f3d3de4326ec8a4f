"""One connection to the database hangs, as behind a router that lost its state; the others work."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiohttp import web
from yarl import URL

from tests.api.trading.receiver import Received, listening, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer


class Router:
    """Passes bytes on to the database; drops all, both ways, from a statement on that holds `mark`, once."""

    def __init__(self, database: URL, mark: bytes) -> None:
        self._database, self._mark, self.is_armed = database, mark, False
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> str:
        """Start listening; return the address of the database behind it."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return str(self._database.with_host("127.0.0.1").with_port(port).with_query(sslmode="disable"))

    def close(self) -> None:
        """End all connections."""
        self._server.close()
        for writer in self._open:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, to_behind = await asyncio.open_connection(self._database.host, self._database.port)
        self._open |= {writer, to_behind}

        is_hanging = False

        async def up() -> None:
            nonlocal is_hanging
            while part := await reader.read(65_536):
                if self.is_armed and self._mark in part:
                    self.is_armed, is_hanging = False, True
                if not is_hanging:
                    to_behind.write(part)
            to_behind.close()

        async def down() -> None:
            while part := await behind.read(65_536):
                if not is_hanging:
                    writer.write(part)
            if not is_hanging:  # neither side notices the other's end
                writer.close()

        with contextlib.suppress(ConnectionError):
            await asyncio.gather(up(), down())


async def test_a_buy_that_was_not_accepted_is_attempted_again(
    start_app: Callable[..., Awaitable[AppServer]], database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "finviz_config.json").write_text('{"strategies": [{"name": "mine", "url": "list:AAPL"}]}')
    router = Router(URL(database_url), b"not_before = clock_timestamp()")

    async def answer(received: Received) -> web.StreamResponse:
        if len(receiver.received) > 1:
            return await take(received)
        router.is_armed = True  # the next statement with these words is the outcome's
        return web.Response(status=503)

    async with listening() as receiver:
        receiver.answer = answer
        app = await start_app(
            database_url=await router.start(),
            dest_webhook_url=receiver.url,
            dest_webhook_rate_limiting_enabled=False,
        )
        try:
            async with app.http.post("/webhook/in", json={"ticker": "AAPL", "side": "buy"}) as taken:
                signal_id = (await taken.json())["signal_id"]
            found = None
            for _ in range(90):  # its connection is abandoned after 10 s
                query = "SELECT status, reason FROM signals WHERE id = $1"
                found = await app.context.pool.fetchrow(query, signal_id)
                assert found is not None
                if found["status"] in {"forwarded", "failed", "expired"}:
                    break
                await app.context.wakeups.wait("changed", 0.5)
            assert found is not None
            assert found["status"] == "forwarded", found["reason"]
        finally:
            router.close()
