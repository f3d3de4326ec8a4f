"""Posts of equal alerts, one by one and in one batch, with blocked commits or decisions."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

numbers = count(1)
BUY, SELL = {"ticker": "AAPL", "action": "buy"}, {"ticker": "AAPL", "action": "sell"}


async def post(
    app: AppServer, alert: Mapping[str, object] | bytes, expected: int = 202, /, **headers: str
) -> dict[str, Any]:
    """Post an alert; return the answer, whose status is expected."""
    data = alert if isinstance(alert, bytes) else json.dumps(alert).encode()
    async with app.http.post("/webhook/in", data=data, headers=headers) as answer:
        said: dict[str, Any] = await answer.json()
        assert answer.status == expected, said
        return said


async def is_new(app: AppServer, alert: Mapping[str, object] | bytes) -> bool:
    """Post an alert, and return whether it became a signal."""
    return not (await post(app, alert))["duplicate"]


async def stored(desk: Desk) -> int:
    """Return the number of signals."""
    return int(await desk.database.fetchval("SELECT count(*) FROM signals"))


async def until_stored(desk: Desk, app: AppServer, number: int) -> None:
    """Wait until so many signals are stored."""

    async def there() -> bool:
        return await stored(desk) == number

    await desk.wait(app, there, lambda: f"there are not {number} signals")


@asynccontextmanager
async def nothing_commits(desk: Desk) -> AsyncIterator[None]:
    """Block commits until the block ends: PostgreSQL accepts statements and waits."""
    async with desk.database.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE intake_keys IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def nothing_is_decided(desk: Desk) -> AsyncIterator[None]:
    """Stop decisions: signals stay received, or as the test sets them."""
    async with desk.database.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))")
        yield


async def without_its_client(desk: Desk, app: AppServer, alert: Mapping[str, object]) -> None:
    """Post an alert, and close the connection before it is committed."""
    host, port = app.url.removeprefix("http://").split(":")
    body = json.dumps(alert).encode()
    async with nothing_commits(desk):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /webhook/in HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.1)


async def in_one_batch(
    desk: Desk, app: AppServer, posts: Iterable[Awaitable[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Make the posts in this order while another post's commit delays the next batch."""
    group_commit = app.app.state.intake.group_commit
    waits = "SELECT count(*) FROM pg_locks WHERE relation = 'intake_keys'::regclass AND NOT granted"
    tasks: list[asyncio.Future[dict[str, Any]]] = []
    async with asyncio.timeout(30), nothing_commits(desk):
        blocker = asyncio.create_task(post(app, {"ticker": "TSLA", "n": next(numbers)}))
        while not await app.context.pool.fetchval(waits):  # noqa: ASYNC110  # no event reports a lock
            await asyncio.sleep(0.005)
        for number, one in enumerate(posts, 1):
            tasks.append(asyncio.ensure_future(one))
            while group_commit.waiting < number:  # noqa: ASYNC110  # no event reports a queued post
                await asyncio.sleep(0.001)
    await blocker
    return [await task for task in tasks]
