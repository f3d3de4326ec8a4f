"""HEAD requests where GET works, and WebSocket messages larger than the limit."""

from __future__ import annotations

import asyncio
import base64
import os
import select
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from tests.api.conftest import ADMIN_TOKEN

if TYPE_CHECKING:
    from tests.api.conftest import AppServer

BEARER = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
DEADLINE_SECONDS = 30
TEXT, CONTINUATION, CLOSE = 1, 0, 8
TOO_BIG = 1009


async def test_head_answers_like_get_without_a_body(app_server: AppServer) -> None:
    async with app_server.http.get("/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    documented = [path for path, methods in paths.items() if "get" in methods and "{" not in path]
    pages = [
        "/",
        "/admin",
        "/admin/sign-in",
        "/docs",
        "/openapi.json",
        "/static/icon.svg",
        "/admin/page/signals",
    ]
    for path in [*documented, *pages]:
        async with app_server.http.get(path, headers=BEARER, allow_redirects=False) as got:
            await got.read()
        async with app_server.http.head(path, headers=BEARER, allow_redirects=False) as head:
            assert (head.status, await head.read()) == (got.status, b""), path
            assert head.headers.get("Content-Type") == got.headers.get("Content-Type"), path


async def test_head_needs_the_token_too(app_server: AppServer) -> None:
    async with app_server.http.head("/admin/status") as answer:
        assert answer.status == 401
    async with app_server.http.head("/admin/sign-out", headers=BEARER) as answer:
        assert answer.status == 405


def frame(opcode: int, payload: bytes, *, is_last: bool) -> bytes:
    """Return a client's frame, masked as the protocol requires."""
    mask = b"\1\2\3\4"
    first = bytes([opcode | (0x80 if is_last else 0)])
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 65_536:
        length = bytes([0x80 | 126]) + struct.pack("!H", len(payload))
    else:
        length = bytes([0x80 | 127]) + struct.pack("!Q", len(payload))
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return first + length + mask + masked


def handshake(host: str, port: str) -> bytes:
    """Return the request that opens the WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /ws/admin-updates HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode()
    )


@pytest.mark.parametrize(("fragments", "size"), [(20, 10_000), (200, 1_000), (4, 50_000), (1, 200_000)])
async def test_a_message_that_is_too_large_ends_with_1009(
    app_server: AppServer, fragments: int, size: int
) -> None:
    host, _, port = app_server.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(handshake(host, port))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    for number in range(fragments):
        opcode = TEXT if number == 0 else CONTINUATION
        writer.write(frame(opcode, b"x" * size, is_last=number == fragments - 1))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            opcode, payload = await read_frame(reader)
            if opcode == CLOSE:
                break
    assert struct.unpack("!H", payload[:2])[0] == TOO_BIG
    writer.close()


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the next frame of the server: opcode and payload."""
    first, length = await reader.readexactly(2)
    size = length & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    return first & 0x0F, await reader.readexactly(size)


def send_then_read(host: str, port: int, head: bytes) -> int:
    """Send a message of 200 KB in fragments without reading, then return the close code."""
    with socket.create_connection((host, port), timeout=DEADLINE_SECONDS) as line:
        line.sendall(head)
        with line.makefile("rb") as answers:
            while answers.readline().strip():
                pass
            for number in range(20):
                opcode = TEXT if number == 0 else CONTINUATION
                line.sendall(frame(opcode, b"x" * 10_000, is_last=number == 19))
                select.select([], [], [], 0.02)  # so that the server answers in the middle
            while True:
                first, length = answers.read(2)
                size = length & 0x7F
                if size == 126:
                    (size,) = struct.unpack("!H", answers.read(2))
                payload = answers.read(size)
                if first & 0x0F == CLOSE:
                    return int.from_bytes(payload[:2])


async def test_a_client_that_still_sends_gets_the_close_code(app_server: AppServer) -> None:
    host, _, port = app_server.url.removeprefix("http://").partition(":")
    head = handshake(host, port)
    assert await asyncio.to_thread(send_then_read, host, int(port), head) == TOO_BIG
