"""Reuse of connections: it begins after a silent interval, and ends with any irregular response."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest

from app.orders import connections
from app.orders.connections import EarnedReuseConnector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Talk = Callable[["Destination", asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECOND = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
SILENT_SECONDS, REUSE_SECONDS = 0.4, 0.4  # so that a busy machine is in time


class Destination:
    """A raw HTTP server on loopback: it counts connections and answers each request as `talk` says."""

    def __init__(self, talk: Talk) -> None:
        self.opened = 0
        self.requests = 0
        self._talk = talk

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it is closed."""
        self.opened += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                self.requests += 1
                await self._talk(self, writer)
        writer.close()


async def answer(_: Destination, writer: asyncio.StreamWriter) -> None:
    """Answer once, and keep the connection."""
    writer.write(OK)


@pytest.fixture(autouse=True)
def _times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_SILENT_SECONDS", SILENT_SECONDS)
    monkeypatch.setattr(connections, "_REUSE_SECONDS", REUSE_SECONDS)


@asynccontextmanager
async def talking_to(talk: Talk) -> AsyncIterator[tuple[Destination, Callable[[], Awaitable[int]]]]:
    """Yield a destination and a function that posts to it and returns the status of the answer."""
    destination = Destination(talk)
    server = await asyncio.start_server(destination.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with aiohttp.ClientSession(connector=EarnedReuseConnector()) as client:

        async def post() -> int:
            async with client.post(url, data=b"{}", timeout=aiohttp.ClientTimeout(total=5)) as response:
                await response.read()
                return response.status

        yield destination, post
    server.close()


async def earn(post: Callable[[], Awaitable[int]]) -> None:
    """Wait the silent interval after which connections may be reused."""
    assert await post() == 200
    await asyncio.sleep(2 * SILENT_SECONDS)


async def test_each_request_has_its_own_connection_until_reuse_is_allowed() -> None:
    async with talking_to(answer) as (destination, post):
        for _ in range(5):
            await post()
        assert destination.opened == 5
        await asyncio.sleep(2 * SILENT_SECONDS)
        for _ in range(5):
            await post()
        assert destination.opened == 6


async def test_a_connection_is_not_reused_after_the_burst() -> None:
    async with talking_to(answer) as (destination, post):
        await earn(post)
        await post()
        await asyncio.sleep(2 * REUSE_SECONDS)
        await post()
        assert destination.opened == 3


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05])
async def test_a_destination_that_answers_twice_never_gets_reuse(seconds: float) -> None:
    async def twice(_: Destination, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(seconds)
        writer.write(SECOND)

    async with talking_to(twice) as (destination, post):
        await earn(post)
        assert [await post() for _ in range(5)] == [200] * 5
        assert destination.opened == 6


async def test_a_destination_that_closes_without_notice_never_gets_reuse() -> None:
    async def close_soon(_: Destination, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.close()

    async with talking_to(close_soon) as (destination, post):
        await earn(post)
        assert [await post() for _ in range(5)] == [200] * 5
        assert destination.opened == 6


@pytest.mark.parametrize("together", [True, False], ids=["in one packet", "while idle"])
async def test_a_second_answer_ends_reuse(together: bool) -> None:  # noqa: FBT001 - a parameter
    async def twice_once(destination: Destination, writer: asyncio.StreamWriter) -> None:
        if destination.requests != 3:
            writer.write(OK)
        elif together:
            writer.write(OK + SECOND)
        else:
            writer.write(OK)
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.write(SECOND)

    async with talking_to(twice_once) as (destination, post):
        await earn(post)
        statuses = [await post(), await post()]
        await asyncio.sleep(REUSE_SECONDS / 4)
        opened = destination.opened
        statuses += [await post() for _ in range(3)]
        assert statuses == [200] * 5
        assert destination.opened == opened + 3


async def test_a_second_answer_after_the_burst_ends_reuse() -> None:
    async def late(destination: Destination, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        if destination.requests == 2:
            await writer.drain()
            await asyncio.sleep(REUSE_SECONDS / 2)
            writer.write(SECOND)

    async with talking_to(late) as (destination, post):
        await earn(post)
        await post()
        await asyncio.sleep(2 * REUSE_SECONDS)
        opened = destination.opened
        assert [await post() for _ in range(3)] == [200] * 3
        assert destination.opened == opened + 3


async def test_bytes_that_the_event_loop_has_not_read_yet_count() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def remember(_: Destination, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(OK)

    async with talking_to(remember) as (_, post):
        await earn(post)
        assert await post() == 200
        writers[-1].write(SECOND)  # sent at once; the client's side of it is read in the loop's next turn
        assert await post() == 200


async def test_the_latest_connection_is_reused_first() -> None:
    used: list[asyncio.StreamWriter] = []

    async def remember(_: Destination, writer: asyncio.StreamWriter) -> None:
        used.append(writer)
        writer.write(OK)

    async with talking_to(remember) as (_, post):
        await earn(post)
        await asyncio.gather(*(post() for _ in range(4)))
        del used[:]
        assert [await post() for _ in range(6)] == [200] * 6
        assert len(set(used)) == 1  # the others become too old, and are closed


async def test_a_broken_connection_fails_its_order_and_ends_reuse() -> None:
    async def break_once(destination: Destination, writer: asyncio.StreamWriter) -> None:
        if destination.requests == 3:
            writer.close()
        else:
            writer.write(OK)

    async with talking_to(break_once) as (destination, post):
        await earn(post)
        assert await post() == 200
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await post()
        opened = destination.opened
        assert [await post() for _ in range(3)] == [200] * 3
        assert destination.opened == opened + 3


async def test_a_destination_that_announces_its_close_is_not_reused() -> None:
    async def announce(_: Destination, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    async with talking_to(announce) as (destination, post):
        await earn(post)
        assert [await post() for _ in range(3)] == [200] * 3
        assert destination.opened == 4


async def test_closing_the_client_closes_a_connection_under_observation() -> None:
    closed = asyncio.Event()

    async def wait_for_close(_: Destination, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        asyncio.get_running_loop().create_task(when_closed(writer)).add_done_callback(lambda _: closed.set())

    async def when_closed(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with talking_to(wait_for_close) as (_, post):
        await post()
        assert not closed.is_set()
    async with asyncio.timeout(2):
        await closed.wait()


async def test_the_beginning_of_a_second_answer_ends_reuse() -> None:
    async def begin_twice(destination: Destination, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        if destination.requests == 2:
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.write(b"HTTP/1.1 503 Serv")

    async with talking_to(begin_twice) as (destination, post):
        await earn(post)
        await post()
        await asyncio.sleep(REUSE_SECONDS / 4)
        opened = destination.opened
        assert [await post() for _ in range(3)] == [200] * 3
        assert destination.opened == opened + 3
