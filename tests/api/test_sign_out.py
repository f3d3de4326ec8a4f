"""A sign-out ends the session everywhere: its cookie and its WebSockets, in every process, over restarts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import asyncpg

from app.web.authentication import COOKIE, Sessions
from tests.api.conftest import ADMIN_TOKEN
from tests.api.outage import away

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

DEADLINE_SECONDS = 30  # generous: the other process polls once a second
SESSION_ENDED = 1008


def new_cookie() -> dict[str, str]:
    """Return the header of a new session."""
    return {"Cookie": f"{COOKIE}={Sessions(ADMIN_TOKEN).issue()}"}


async def sign_out(app: AppServer, cookie: dict[str, str]) -> int:
    """Sign out as the page's button does."""
    headers = {**cookie, "Origin": app.url}
    async with app.http.post("/admin/sign-out", headers=headers, allow_redirects=False) as answer:
        return answer.status


async def status(app: AppServer, cookie: dict[str, str]) -> int:
    """Return the status of the page's own request."""
    async with app.http.get("/admin/status", headers=cookie) as answer:
        return answer.status


async def refused(app: AppServer, cookie: dict[str, str]) -> None:
    """Wait until a process knows that the session has ended."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if await status(app, cookie) == 401:
                return
            await asyncio.sleep(0.05)  # the process polls once a second


async def closed(line: aiohttp.ClientWebSocketResponse) -> int | None:
    """Read until the server closes the WebSocket; return the close code."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await line.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    return line.close_code


async def test_the_cookie_is_refused_afterwards(app_server: AppServer) -> None:
    cookie, other = new_cookie(), new_cookie()
    assert await status(app_server, cookie) == 200
    assert await sign_out(app_server, cookie) == 303
    assert await status(app_server, cookie) == 401
    assert await sign_out(app_server, cookie) == 401
    assert await status(app_server, other) == 200
    async with app_server.http.get(
        "/admin", headers={**cookie, "Accept": "text/html"}, allow_redirects=False
    ) as answer:
        assert answer.headers["Location"].startswith("/admin/sign-in")


async def test_it_holds_in_another_process_and_after_a_restart(start_app: StartApp) -> None:
    first, second, cookie = await start_app(), await start_app(), new_cookie()
    assert await status(second, cookie) == 200
    await sign_out(first, cookie)
    await refused(second, cookie)
    assert await status(await start_app(), cookie) == 401


async def test_the_websockets_of_the_session_close_in_every_process(start_app: StartApp) -> None:
    first, second, cookie, other = await start_app(), await start_app(), new_cookie(), new_cookie()
    async with (
        first.http.ws_connect("/ws/admin-updates", headers=cookie, origin=first.url) as here,
        second.http.ws_connect("/ws/admin-updates", headers=cookie, origin=second.url) as there,
        first.http.ws_connect("/ws/admin-updates", headers=other, origin=first.url) as stays,
    ):
        for line in (here, there, stays):
            assert (await line.receive_json(timeout=DEADLINE_SECONDS))["type"] == "snapshot"
        await sign_out(first, cookie)
        assert await closed(here) == SESSION_ENDED
        assert await closed(there) == SESSION_ENDED
        assert not stays.closed
        await stays.receive_json(timeout=DEADLINE_SECONDS)


async def test_without_the_database_it_holds_here_and_is_stored_later(
    start_app: StartApp, database_url: str
) -> None:
    app, cookie = await start_app(), new_cookie()
    assert await status(app, cookie) == 200
    async with away(database_url):
        assert await sign_out(app, cookie) == 303
        assert await status(app, cookie) == 401
    connection = await asyncpg.connect(database_url)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if await connection.fetchval("SELECT count(*) FROM ended_sessions"):
                break
            await asyncio.sleep(0.1)  # the process polls once a second
    await connection.close()
    assert await status(await start_app(), cookie) == 401


async def test_a_token_has_no_session_to_end(app_server: AppServer) -> None:
    bearer = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    assert await sign_out(app_server, bearer) == 303
    assert await status(app_server, bearer) == 200


class LateAnswers:
    """A pool whose first answer is late: rows are read, and returned when the test sets `let_go`."""

    def __init__(self, pool: Any) -> None:
        self._pool, self.is_held = pool, False
        self.held, self.let_go = asyncio.Event(), asyncio.Event()

    async def fetch(self, *statement: Any) -> Any:
        rows = await self._pool.fetch(*statement)
        if self.is_held:
            self.is_held = False
            self.held.set()
            await self.let_go.wait()
        return rows

    async def execute(self, *statement: Any) -> Any:
        return await self._pool.execute(*statement)


async def test_a_read_that_began_before_a_sign_out_does_not_undo_it(app_server: AppServer) -> None:
    cookie = new_cookie()
    ended = app_server.app.state.ended_sessions
    pool = ended._pool = LateAnswers(ended._pool)  # noqa: SLF001 - the real database, with one late answer
    pool.is_held = True
    older = asyncio.create_task(ended.refresh())
    await pool.held.wait()
    assert await sign_out(app_server, cookie) == 303
    pool.let_go.set()
    await older
    assert await status(app_server, cookie) == 401
