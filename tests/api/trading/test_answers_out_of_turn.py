"""Destinations that answer twice, answer late, or close without notice: each order gets its own outcome."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from uuid import UUID

    import asyncpg

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

    Talk = Callable[[int, asyncio.StreamWriter], Awaitable[bool]]


async def ended_attempt(desk: Desk, app: AppServer, signal: UUID) -> asyncpg.Record:
    """Wait until the signal's only attempt has ended; return it."""
    await desk.wait(app, lambda: desk.has_ended_attempt(signal), lambda: "the attempt has not ended")
    (attempt,) = await desk.attempts(signal)
    return attempt


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + b'{"success": true}'
NOT_NOW = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def destination(talk: Talk) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve raw answers: `talk` gets the request's number on its connection; true keeps the connection."""
    bodies: list[bytes] = []
    open_now: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        number = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                bodies.append(await reader.readexactly(length))
                if not await talk(number, writer):
                    break
                number += 1
        writer.close()
        open_now.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", bodies
    finally:
        server.close()
        for writer in open_now:
            writer.close()


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.2])
async def test_a_second_answer_to_one_order_is_not_the_answer_to_the_next(desk: Desk, seconds: float) -> None:
    has_answered_twice = asyncio.Event()

    async def talk(_: int, writer: asyncio.StreamWriter) -> bool:
        if has_answered_twice.is_set():
            writer.write(NOT_NOW)
        else:
            writer.write(OK)
            await writer.drain()
            await asyncio.sleep(seconds)
            writer.write(OK)
            has_answered_twice.set()
        await writer.drain()
        return True

    desk.configure("webhook", retry_seconds=[3600])
    async with destination(talk) as (url, bodies):
        app = await desk.open(live=False, dest_webhook_url=url, forwarding_workers=1)
        await desk.until(app, await desk.send(app, "AAPL", "buy"))
        await has_answered_twice.wait()
        second = await desk.send(app, "NVDA", "buy")
        assert (await ended_attempt(desk, app, second))["outcome"] == "not_taken"
        assert any(b'"NVDA"' in body for body in bodies)
        assert await desk.open_positions() == {"AAPL": 1}


@pytest.mark.parametrize("seconds", [1.2, 3.0])
async def test_a_body_with_success_false_counts_within_the_whole_time_out(desk: Desk, seconds: float) -> None:
    async def talk(_: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(seconds)
        writer.write(b'{"success": false}')
        await writer.drain()
        return True

    desk.configure("webhook", timeout=10, retry_seconds=[3600])
    async with destination(talk) as (url, _):
        app = await desk.open(live=False, dest_webhook_url=url)
        buy = await desk.send(app, "AAPL", "buy")
        assert (await ended_attempt(desk, app, buy))["outcome"] == "not_taken"
        assert await desk.open_positions() == {}


async def test_a_slow_body_delays_no_other_order(desk: Desk) -> None:
    other_has_come = asyncio.Event()

    async def talk(_: int, writer: asyncio.StreamWriter) -> bool:
        if b'"AAPL"' in bodies[-1]:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n")
            await writer.drain()
            await other_has_come.wait()
            writer.write(b'{"success": false}')
        else:
            writer.write(OK)
        await writer.drain()
        return True

    desk.configure("webhook", timeout=60, retry_seconds=[3600])
    async with destination(talk) as (url, bodies):
        app = await desk.open(live=False, dest_webhook_url=url, forwarding_workers=2)
        slow = await desk.send(app, "AAPL", "buy")
        other = await desk.send(app, "NVDA", "buy")
        assert (await desk.until(app, other))["status"] == "forwarded"
        assert (await desk.signal(slow))["status"] == "forwarding"
        other_has_come.set()
        assert (await ended_attempt(desk, app, slow))["outcome"] == "not_taken"


async def test_a_body_that_never_ends_leaves_the_decision_to_the_status(desk: Desk) -> None:
    async def talk(_: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n")
        await writer.drain()
        return True

    desk.configure("webhook", timeout=1)
    async with destination(talk) as (url, _):
        app = await desk.open(live=False, dest_webhook_url=url)
        buy = await desk.send(app, "AAPL", "buy")
        assert (await desk.until(app, buy))["status"] == "forwarded"
        assert await desk.open_positions() == {"AAPL": 1}


async def test_a_destination_that_closes_after_each_answer_gets_every_order(desk: Desk) -> None:
    async def talk(_: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.001)
        return False

    tickers = [f"T{number}" for number in range(300)]
    desk.watch("list:" + ",".join(tickers), top_n=500)
    async with destination(talk) as (url, _):
        app = await desk.open(live=False, dest_webhook_url=url, forwarding_workers=8)
        await asyncio.gather(*(desk.send(app, ticker, "buy") for ticker in tickers))
        await desk.settled(app)
        rows = await desk.database.fetch("SELECT reason FROM signals WHERE status = 'failed'")
        assert [row["reason"] for row in rows] == []
