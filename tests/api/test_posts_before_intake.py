"""Alerts of real clients that are refused or lost before intake can store anything of them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

SECRET = "s3cret-of-the-sender"


def alert() -> bytes:
    """Return a unique alert."""
    return json.dumps({"ticker": "AAPL", "side": "sell", "n": uuid4().hex, "secret": SECRET}).encode()


async def sent_raw(app: AppServer, content: bytes, seconds: float = 3.0) -> bytes:
    """Send these bytes, and return the server's answer within some seconds."""
    host, port = app.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(content)
    await writer.drain()
    answer = b""
    try:
        async with asyncio.timeout(seconds):
            while part := await reader.read(65_536):
                answer += part
                if b"\r\n\r\n" in answer:
                    break
    except TimeoutError:
        pass
    writer.close()
    return answer


def post(head: bytes, body: bytes) -> bytes:
    """Return a post to the webhook, with additional header lines."""
    return b"POST /webhook/in HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


async def traces(app: AppServer, wanted: int) -> int:
    """Return how many posts the page shows as stored or refused: `wanted`, or the number after 5 s."""
    found = 0
    for _ in range(50):
        kept = await ask(app, "GET", "/admin/refused")
        status = await ask(app, "GET", "/admin/status")
        found = len(kept["posts"]) + sum(each["count"] for each in status["refused"])
        if found >= wanted:
            break
        await asyncio.sleep(0.1)  # kept posts are written once a second
    return found


@pytest.mark.parametrize(
    "upgrade",
    [
        # what Java's HttpClient sends with its first request to an http:// address, a post too
        b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: h2c\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    ],
)
async def test_an_upgrade_header_loses_no_alert(start_app: StartApp, upgrade: bytes) -> None:
    app = await start_app(webhook_secret=SECRET)
    answer = await sent_raw(app, post(upgrade, alert()))
    assert answer.startswith(b"HTTP/1.1 202 "), answer


async def test_an_upgrade_header_is_ignored_for_any_framing_of_the_body(start_app: StartApp) -> None:
    app = await start_app(webhook_secret=SECRET)
    host, port = app.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = b"POST /webhook/in HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n"
    for _ in range(2):
        body = alert()
        for part in (
            head + b"Transfer-Encoding: chunked\r\n\r\n",
            b"%x\r\n" % len(body) + body[:20],
            body[20:] + b"\r\n0\r\n\r\n",
        ):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)  # a segment of its own
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
            await reader.readuntil(b"}")
    writer.write(head.replace(b"POST /webhook/in", b"GET /health") + b"\r\n")
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_an_alert_by_another_method_is_counted(start_app: StartApp, method: str) -> None:
    app = await start_app(webhook_secret=SECRET)
    async with app.http.request(method, "/webhook/in", data=alert()) as answer:
        assert answer.status == 405
    assert await traces(app, 1) == 1


async def test_an_alert_that_is_not_valid_http_is_counted(
    start_app: StartApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = await start_app(webhook_secret=SECRET)
    for _ in range(20):
        assert (await sent_raw(app, post(b"X Source: tv\r\n", alert()))).startswith(b"HTTP/1.1 400 ")
    assert await traces(app, 20) == 20
    (refused,) = (await ask(app, "GET", "/admin/status"))["refused"]
    assert (refused["kind"], refused["last_address"]) == ("http", "127.0.0.1")
    assert "Invalid HTTP" not in caplog.text  # a line a minute, not one a request


async def test_an_incomplete_alert_is_counted(start_app: StartApp) -> None:
    app = await start_app(webhook_secret=SECRET)
    host, port = app.url.removeprefix("http://").split(":")
    for _ in range(5):
        _, writer = await asyncio.open_connection(host, int(port))
        head = b"X-Webhook-Secret: " + SECRET.encode() + b"\r\n"
        writer.write(post(head, alert())[:-10])
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
    assert await traces(app, 5) == 5


async def test_health_reports_refused_posts_for_each_table_that_cannot_be_written(
    app_server: AppServer,
) -> None:
    await app_server.context.pool.execute(
        """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$;
           CREATE TRIGGER full_disk BEFORE INSERT ON intake_keys EXECUTE FUNCTION full_disk()"""
    )
    for _ in range(3):
        async with app_server.http.post("/webhook/in", data=alert()) as answer:
            assert answer.status == 503
        await asyncio.sleep(0.5)  # within which the worker probes again
        async with app_server.http.get("/health") as answer:
            assert (await answer.json())["checks"]["intake"]["status"] == "failed"
