"""For any exception between a request and its outcome, the outcome is stored, without secrets."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import struct
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import generate_latest

from app.orders import transport
from app.signals.statuses import Outcome
from tests.api import shown
from tests.api.operator import ask
from tests.api.trading.receiver import Received, take

if TYPE_CHECKING:
    import io
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import SimpleNamespace

    from tests.api.trading.desk import Desk

SECRET = "S3CRET"
HOOK = f"/hook/{SECRET}-path?token={SECRET}-token"
CLIENT_ERRORS = sorted(
    {
        error
        for error in vars(aiohttp).values()
        if inspect.isclass(error) and issubclass(error, aiohttp.ClientError)
    },
    key=lambda error: error.__name__,
)
OTHERS: list[type[Exception]] = [
    *(UnicodeError, UnicodeDecodeError, ValueError, OverflowError, TypeError, KeyError, AssertionError),
    *(RuntimeError, RecursionError, OSError, ConnectionResetError, socket.gaierror, json.JSONDecodeError),
]


class _Odd(Exception):  # noqa: N818 - named as a library would
    """An exception that cannot even be printed."""

    def __str__(self) -> NoReturn:
        raise RuntimeError(SECRET)


def made(kind: type[Exception]) -> Exception:
    """Return an instance of any class, with a secret among its arguments."""
    error = kind.__new__(kind, SECRET)
    error.args = (SECRET,)
    return error


class _Raising:
    """A client whose request raises, before or after its headers were sent."""

    def __init__(self, error: Exception, *, is_sent: bool) -> None:
        self._error, self._is_sent = error, is_sent

    async def post(self, _: str, *, trace_request_ctx: SimpleNamespace, **__: Any) -> NoReturn:
        trace_request_ctx.is_sent = self._is_sent
        raise self._error


@pytest.mark.parametrize("is_sent", [False, True])
@pytest.mark.parametrize("kind", [*CLIENT_ERRORS, *OTHERS, _Odd], ids=lambda kind: kind.__name__)
async def test_every_exception_of_the_client_has_its_outcome(kind: type[Exception], is_sent: bool) -> None:  # noqa: FBT001
    client: Any = _Raising(made(kind), is_sent=is_sent)
    answer = await transport.post_http(client, f"http://x{HOOK}", b"{}", {}, 1.0)
    assert answer.outcome is (Outcome.UNKNOWN if is_sent else Outcome.NOT_TAKEN)
    assert answer.error
    assert SECRET not in str(answer.error)
    assert not str(answer.error).startswith("_Odd")


@pytest.mark.parametrize(
    "url",
    [
        f"http://host..example{HOOK}",
        f"http://{'a' * 64}.example{HOOK}",
        f"http://127.0.0.1:99999{HOOK}",
        f"http://exa mple{HOOK}",
        f"http://[::1{HOOK}",
        f"http://host.invalid{HOOK}",
        f"http://\u00fc:{SECRET}@127.0.0.1:1{HOOK}",
        f"http://a%3Ab:{SECRET}@127.0.0.1:1{HOOK}",
        f"ftp://127.0.0.1{HOOK}",
        f"http://{HOOK}",
        f"https://127.0.0.1:1{HOOK}",
        f"{HOOK}\ud800",
    ],
)
async def test_an_exception_before_the_request_left_is_not_accepted(url: str) -> None:
    async with transport.open_client() as client:
        answer = await transport.post_http(client, url, b"{}", {}, 10.0)
    assert answer.outcome is Outcome.NOT_TAKEN
    assert answer.error
    assert SECRET not in str(answer.error)


@asynccontextmanager
async def behaving(
    how: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Run a destination that handles each connection in one way; yield its address."""
    async with await asyncio.start_server(how, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{HOOK}"


async def bad_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with an invalid header that repeats the request."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nbad header " + head.partition(b"\r\n")[0] + b"\r\n\r\n")
    writer.close()


def reset_now(writer: asyncio.StreamWriter) -> None:
    """Close by a reset, also with unread data."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection in the middle of the request."""
    await reader.read(10)
    reset_now(writer)


async def reset_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection after the headers, when a part of the body has come."""
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(10)
    reset_now(writer)


async def bad_chunk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close in the middle of an answer's headers."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + SECRET.encode())
    writer.close()


async def test_a_reset_while_the_body_is_being_sent_has_an_unknown_outcome(logged: io.StringIO) -> None:
    body = b"x" * 16_000_000  # more than the buffers between the two hold
    async with behaving(reset_in_the_body) as url, transport.open_client() as client:
        answers = [await transport.post_http(client, url, body, {}, 30.0) for _ in range(5)]
    assert {answer.outcome for answer in answers} == {Outcome.UNKNOWN}
    assert all("reset" in str(answer.error) for answer in answers)
    assert SECRET not in f"{answers}{logged.getvalue()}"


def reset_once_connected(
    listener: socket.socket, is_sent: threading.Event, reset_done: threading.Event
) -> None:
    """Accept a connection and reset it once the client has made the headers."""
    connection, _ = listener.accept()
    with connection:
        is_sent.wait(30)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    reset_done.set()


@pytest.mark.parametrize("size", [3, 16_000_000])
async def test_a_reset_between_the_headers_and_the_body_is_reported_without_the_url(
    logged: io.StringIO, size: int
) -> None:
    is_sent, reset_done = threading.Event(), threading.Event()

    async def wait_for_the_reset(*_: Any) -> None:
        is_sent.set()
        reset_done.wait(30)  # blocks the event loop: it reads the reset after the headers were made

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(wait_for_the_reset)
    trace.freeze()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{HOOK}"
        serving = threading.Thread(target=reset_once_connected, args=(listener, is_sent, reset_done))
        serving.start()
        async with transport.open_client() as client:
            client.trace_configs.append(trace)
            answer = await transport.post_http(client, url, b"x" * size, {}, 30.0)
        serving.join()
    assert answer.outcome is Outcome.UNKNOWN
    assert str(answer.error) == "connection reset (ClientOSError, ECONNRESET)"
    assert SECRET not in f"{answer}{logged.getvalue()}"


@pytest.mark.parametrize(
    "how", [bad_header, reset, reset_in_the_body, bad_chunk], ids=lambda how: how.__name__
)
async def test_no_failure_shows_the_destination_s_secrets(
    logged: io.StringIO,
    desk: Desk,
    how: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    desk.configure("webhook", retry_seconds=[0.05])
    async with behaving(how) as url:
        app = await desk.start_app(dest_webhook_url=url, dest_webhook_rate_limiting_enabled=False)
        for number in range(6):  # enough for the circuit breaker, whose reason is shown too
            await desk.until(app, await desk.send(app, "AAPL", "buy", n=number))
        seen = await shown.everything(app.http, desk.database, logged.getvalue())
        seen["metrics"] = generate_latest().decode()
    assert shown.places(seen, SECRET) == set()
    assert "Error" in seen["table attempts"]
    assert '"event":"not delivered"' in seen["log"]


async def test_an_answer_with_success_false_is_attempted_again(desk: Desk) -> None:
    async def once(_: Received) -> web.StreamResponse:
        desk.receiver.answer = accept
        return web.json_response({"success": False, "messageCode": "invalid-payload"})

    async def accept(_: Received) -> web.StreamResponse:
        return web.json_response({"success": True, "id": "0d3f", "logId": "77aa"})

    desk.configure("webhook", retry_seconds=[0.05])
    desk.receiver.answer = once
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, buy))["status"] == "forwarded"
    found = await ask(app, "GET", f"/admin/signals/{buy}")
    assert [
        (attempt["outcome"], attempt["http_status"], attempt["reference"]) for attempt in found["attempts"]
    ] == [("not_taken", 200, None), ("delivered", 200, "0d3f")]
    reasons = [event["reason"] for event in found["events"]]
    assert 'not accepted: HTTP 200 with "success": false; will be retried' in reasons
    assert await desk.open_positions() == {"AAPL": 1}
    headers = {"Authorization": f"Bearer {app.context.settings.admin_token}"}
    async with app.http.get(f"/admin/page/signals/{buy}", headers=headers) as page:
        assert "<code>0d3f</code>" in await page.text()


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_hold_is_measured_by_the_destination_s_clock(desk: Desk, hours: int) -> None:
    async def once(_: Received) -> web.StreamResponse:
        desk.receiver.answer = take
        there = datetime.now(UTC) + timedelta(hours=hours)
        return web.Response(
            status=429,
            headers={
                "Date": format_datetime(there, usegmt=True),
                "Retry-After": format_datetime(there + timedelta(seconds=2), usegmt=True),
            },
        )

    desk.configure("webhook", retry_seconds=[0.05])
    desk.receiver.answer = once
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    app = await desk.open()
    assert (await desk.until(app, await desk.send(app, "NVDA", "sell")))["status"] == "forwarded"
    hold = await desk.database.fetchval("SELECT held_until - clock_timestamp() FROM destinations")
    assert hold < timedelta(seconds=2)
