"""A destination with invalid HTTP or none: each attempt has its outcome, no sender stops."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.api.trading.desk import Desk

OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[str]:
    """Run a server that reads a request, answers with this, and closes; yield its address."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"", "unknown"),
        (b"\0" * 1_000, "unknown"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unknown"),
        (b"HTTP/1.1 200", "unknown"),
        (b"HTTP/1.1 99999 Yes\r\n\r\n", "unknown"),
        (b"HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n", "unknown"),
        (b"HTTP/1.1 099 None\r\nContent-Length: 0\r\n\r\n", "unknown"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "unknown"),
        (OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n", "unknown"),
        (OK + b"Content-Length: much\r\n\r\n", "unknown"),
        (OK + b"Content-Length: 1000\r\n\r\nshort", "delivered"),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\0\xff\0", "delivered"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nno length\r\n", "unknown"),
        (OK + b"Set-Cookie: \xff\xfe=;;=\r\n\r\n", "delivered"),
        (b"HTTP/1.1 204 \xff\xfe\r\n\r\n", "delivered"),
        (OK + b'Content-Length: 18\r\n\r\n{"success": false}', "not_taken"),
        (OK + b'\r\n{"success": false, "payload": "' + b"x" * 100_000, "not_taken"),
        (OK + b'Content-Length: 999\r\n\r\n{"success": false', "not_taken"),
        (OK + b'Transfer-Encoding: chunked\r\n\r\n12\r\n{"success": false}\r\nbad', "not_taken"),
        (OK + b'Content-Length: 17\r\n\r\n{"success": true}', "delivered"),
        (b"HTTP/1.1 503 No\r\nRetry-After: 1 Jan 99999999999999999999 00:00:00\r\n\r\n", "not_taken"),
        (
            b"HTTP/1.1 503 No\r\nDate: 1 Jan 99999999999999999999 0:0:0\r\nRetry-After: 0.2\r\n\r\n",
            "not_taken",
        ),
        (b"HTTP/1.1 429 No\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n", "not_taken"),
        (b"HTTP/1.1 400 \r\nRetry-After: \xff\r\nContent-Length: 0\r\n\r\n", "refused"),
        (b"HTTP/1.1 302 Elsewhere\r\nLocation: ::::\r\nContent-Length: 0\r\n\r\n", "refused"),
    ],
)
async def test_any_answer_leads_to_an_outcome(desk: Desk, answer: bytes, outcome: str) -> None:
    desk.configure("webhook", retry_seconds=[3600])
    status = {"delivered": "forwarded", "not_taken": "approved"}.get(outcome, "failed")
    async with saying(answer) as url:
        app = await desk.start_app(dest_webhook_url=url, dest_webhook_rate_limiting_enabled=False)
        buy = await desk.send(app, "AAPL", "buy")

        async def ended() -> bool:
            return any(attempt["ended_at"] for attempt in await desk.attempts(buy))

        await desk.wait(app, ended, lambda: "no attempt ended")
        row = await desk.until(app, buy, status)
        (attempt,) = await desk.attempts(buy)
        assert attempt["outcome"] == outcome
        assert row["status"] == status
        assert "sender died" not in row["reason"]
        states = app.context.supervisor.states()
        assert {name: state.error for name, state in states.items() if state.restarts} == {}
