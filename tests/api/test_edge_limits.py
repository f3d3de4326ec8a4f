"""The edge limits what any client can send to the application; other clients do not notice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import aiohttp
import psutil
import pytest

from tests.api.backend import Backend, started
from tests.hosts import edge as edges

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.hosts.edge import Edge

HEAD = b"POST /webhook/in HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def app() -> Backend:
    """Return the backend behind the edge."""
    return Backend("app")


@pytest.fixture
def proxies() -> str:
    """TRUSTED_PROXIES: 127.0.0.9 is a trusted proxy."""
    return "127.0.0.9 10.1.0.0/16"


@pytest.fixture
async def edge(haproxy: Path, tmp_path: Path, app: Backend, proxies: str) -> AsyncIterator[Edge]:
    """Start an edge with its app."""
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin="127.0.0.1:1", TRUSTED_PROXIES=proxies)
    async with started(app):
        yield made


@pytest.fixture(autouse=True)
async def running(edge: Edge) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run the edge, and yield its process."""
    with edges.running(edge) as process:
        yield process


async def connect(
    edge: Edge, address: str = "127.0.0.1"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection from an address of loopback."""
    return await asyncio.open_connection("127.0.0.1", edge.port, local_addr=(address, 0))


async def status_of(reader: asyncio.StreamReader, seconds: float) -> int:
    """Return the status of the response; 0 if the connection ends without one."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(seconds):
            line = await reader.readline()
        return int(line.split()[1]) if line else 0
    return 0


async def is_served(edge: Edge, address: str = "127.0.0.2") -> bool:
    """Return whether another client's alert is accepted within half a second."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with (
        aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=0.5)) as http,
        http.post(f"{edge.url}/webhook/in", data=b'{"n": 1}') as answer,
    ):
        return answer.status == 202


def memory_mb(process: subprocess.Popen[bytes]) -> float:
    """Return the memory of the edge's master and its workers."""
    master = psutil.Process(process.pid)
    return sum(each.memory_info().rss for each in [master, *master.children(recursive=True)]) / 1e6


async def send_until_closed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, part: bytes, total: int
) -> tuple[int, int]:
    """Send parts until the other side refuses more; return the accepted bytes and the status."""
    sent = 0
    asked = asyncio.create_task(status_of(reader, 30))
    with contextlib.suppress(ConnectionError):
        while sent < total and not asked.done():
            writer.write(part)
            await writer.drain()
            sent += len(part)
            await asyncio.sleep(0)
    return sent, await asked


@pytest.mark.parametrize(
    "start",
    [
        HEAD + b"X-Long: ",
        HEAD + b"X-Last: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: ",
        b"GET /",
    ],
    ids=["head", "trailer", "line"],
)
async def test_sixty_megabytes_of_head(
    edge: Edge, app: Backend, running: subprocess.Popen[bytes], start: bytes
) -> None:
    before = memory_mb(running)
    reader, writer = await connect(edge)
    writer.write(start)
    sent, status = await send_until_closed(reader, writer, b"a" * 65_536, 60_000_000)
    assert sent < 30_000_000
    assert status in {400, 0}  # 0: data in flight made the answer get lost
    assert memory_mb(running) < before + 10
    assert await is_served(edge)
    writer.close()
    assert [each.headers["x-forwarded-for"] for each in app.passed] == ["127.0.0.2"]


@pytest.mark.parametrize(("size", "status"), [(60_000, 202), (66_000, 431), (78_000, 431), (200_000, 400)])
async def test_a_head_of_64_kb(edge: Edge, size: int, status: int) -> None:
    reader, writer = await connect(edge)
    lines = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 7_990) for number in range(size // 8000))
    writer.write(HEAD + lines + b"X-Rest: " + b"a" * (size % 8000) + b"\r\nContent-Length: 2\r\n\r\n{}")
    assert await status_of(reader, 5) == status
    writer.close()


async def test_a_body_of_64_kb_with_a_head_of_8_kb_passes(edge: Edge, app: Backend) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{edge.url}/webhook/in", data=b"a" * 65_536, headers={"X": "b" * 7_000}) as answer,
    ):
        assert answer.status == 202
    assert app.passed[0].body == b"a" * 65_536


async def test_an_import_that_is_larger_than_a_buffer_passes(edge: Edge, app: Backend) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{edge.url}/admin/import", data=b"a" * 5_000_000) as answer,
    ):
        assert answer.status == 202
    assert len(app.passed[0].body) == 5_000_000


@pytest.mark.parametrize(
    ("part", "seconds"),
    [(HEAD, 5), (HEAD + b"Content-Length: 10\r\n\r\n{", 10)],
    ids=["head", "body"],
)
async def test_a_request_that_never_ends_is_answered_408(
    edge: Edge, app: Backend, part: bytes, seconds: float
) -> None:
    reader, writer = await connect(edge)
    begun = time.monotonic()
    writer.write(part)
    assert await status_of(reader, seconds + 5) == 408
    assert seconds - 0.5 < time.monotonic() - begun < seconds + 2
    writer.close()
    assert app.passed == []


async def test_a_head_that_comes_a_byte_at_a_time_has_five_seconds_in_all(edge: Edge) -> None:
    reader, writer = await connect(edge)
    begun = time.monotonic()
    asked = asyncio.create_task(status_of(reader, 20))
    while not asked.done():
        writer.write(b"P")
        await asyncio.sleep(0.2)
    assert (await asked, time.monotonic() - begun < 7) == (408, True)
    writer.close()


async def test_silent_connections_are_closed(edge: Edge) -> None:
    for port in (edge.port, int(edge.tls_url.rpartition(":")[2])):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begun = time.monotonic()
        assert await status_of(reader, 10) in {0, 408}
        assert time.monotonic() - begun < 7
        writer.close()


async def test_two_thousand_half_sent_requests_of_one_address(edge: Edge) -> None:
    """One address has a limit of connections; others are served meanwhile."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2000):
            try:
                _, writer = await connect(edge, "127.0.0.3")
            except ConnectionError:
                continue
            stack.callback(writer.close)
            writer.write(HEAD)
        assert await is_served(edge)
        with pytest.raises(aiohttp.ClientError):
            await is_served(edge, "127.0.0.3")


async def test_a_client_does_not_choose_its_address(edge: Edge, app: Backend) -> None:
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=6.6.6.6;proto=https",
    }
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.4", 0))
    async with aiohttp.ClientSession(connector=connector) as http:
        for _ in range(2):  # the second one on the same connection
            async with http.post(f"{edge.url}/webhook/in", data=b"{}", headers=forged) as answer:
                assert answer.status == 202
    for passed in app.passed:
        found = {name: value for name, value in passed.headers.items() if "forwarded" in name}
        assert found == {"x-forwarded-for": "127.0.0.4", "x-forwarded-proto": "http"}


@pytest.mark.parametrize(
    ("said", "address", "scheme"),
    [
        ({"X-Forwarded-For": "6.6.6.6, 203.0.113.7", "X-Forwarded-Proto": "https"}, "203.0.113.7", "https"),
        ({"X-Forwarded-For": "2001:db8::1", "X-Forwarded-Proto": "HTTP"}, "2001:db8::1", "http"),
        ({"X-Forwarded-Proto": "javascript"}, "127.0.0.9", "http"),
        ({}, "127.0.0.9", "http"),
        ({"X-Forwarded-For": "unknown"}, "127.0.0.9", "http"),
    ],
)
async def test_a_trusted_proxy_sets_the_clients_address(
    edge: Edge, app: Backend, said: dict[str, str], address: str, scheme: str
) -> None:
    """The last address counts, which the proxy added; earlier ones come from the client."""
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.get(f"{edge.url}/admin", headers=said) as answer,
    ):
        assert answer.status == 202
    found = {name: value for name, value in app.passed[0].headers.items() if "forwarded" in name}
    assert found == {"x-forwarded-for": address, "x-forwarded-proto": scheme}


@pytest.mark.parametrize(
    ("proxies", "address"),
    [
        ("10.1.0.0/16,127.0.0.9", "203.0.113.7"),  # as uvicorn's FORWARDED_ALLOW_IPS has them
        ("*", "203.0.113.7"),
        ("10.1.0.0/16 ,, ", "127.0.0.9"),
        ("127.0.0.9 nobody!", "127.0.0.9"),
        ("127.0.0.9 localhost", "127.0.0.9"),  # a name server could answer anything, or nothing
    ],
)
async def test_other_ways_to_name_proxies(edge: Edge, app: Backend, address: str) -> None:
    """A word that is not an address ends the trust in all of them; no alert is lost."""
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
    said = {"X-Forwarded-For": "203.0.113.7"}
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.post(f"{edge.url}/webhook/in", data=b"{}", headers=said) as answer,
    ):
        assert answer.status == 202
    assert app.passed[0].headers["x-forwarded-for"] == address


@pytest.mark.parametrize(
    "head", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"\x16\x03\x01\r\n\r\n"]
)
async def test_a_request_that_is_not_http_gets_an_answer(edge: Edge, app: Backend, head: bytes) -> None:
    reader, writer = await connect(edge)
    writer.write(head)
    assert await status_of(reader, 3) == 400
    writer.close()
    assert app.passed == []
