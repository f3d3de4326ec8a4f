"""The screener's client against real servers: two stand for Finviz and for another host, over TLS."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import TCPConnector, web
from aiohttp.abc import AbstractResolver, ResolveResult

from app.screener.pace import Pace
from app.screener.parsing.parser import Parser
from app.screener.providers import BlockedError, Found, ProviderError, Request, finviz, provider_of
from tests.unit.app.screener.pages import boxover_row, page, tickers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "s3cret-elite-token"
NAMES = ("elite.finviz.com", "finviz.com", "evil.example", "finviz.com.evil.example")
EXPORT = "No.,Ticker\r\n1,NVDA\r\n2,AAPL\r\n"


class AllHere(AbstractResolver):
    """Resolve every name to this machine, and the usual ports to the test's own."""

    def __init__(self, ports: dict[int, int]) -> None:
        self._ports = ports

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=self._ports[port], family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Release nothing: the resolver holds no resources."""


@dataclass(slots=True)
class Internet:
    """The answers by `host/path`, and the received requests as `scheme://host/path?query`."""

    resolver: AllHere
    trusted: ssl.SSLContext
    answers: dict[str, web.Response | str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Return the configured answer; a string is the target of a redirect."""
        self.asked.append(f"{request.scheme}://{request.host}{request.path_qs}")
        found = self.answers[f"{request.host}{request.path}"]
        if isinstance(found, str):
            return web.Response(status=301, headers={"Location": found})
        return web.Response(body=found.body, status=found.status, headers=found.headers)

    async def fetch(self, url: str, *, token: str = TOKEN, others: bool = True) -> Found:
        """Fetch as the refresher does."""
        connector = TCPConnector(resolver=self.resolver, ssl=self.trusted, use_dns_cache=False)
        async with finviz.open_client(connector) as http, Parser() as parser:
            request = Request(url, 30, 40, NOWHERE, http, Pace(lambda: None), parser, token, others)
            return await provider_of(url).fetch(request)


NOWHERE = Path("/nonexistent")  # no file is read


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Create a certificate for every name, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x"
    names = "subjectAltName=" + ",".join(f"DNS:{name}" for name in NAMES)
    subprocess.run(
        [*command.split(), "-addext", names, "-out", files[0], "-keyout", files[1]],
        check=True,
        capture_output=True,
    )
    return files


@asynccontextmanager
async def listening(runner: web.AppRunner, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    yield int(runner.addresses[-1][1])


@pytest_asyncio.fixture
async def internet(authority: tuple[Path, Path]) -> AsyncIterator[Internet]:
    """Serve all hosts over http and https."""
    serving, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    serving.load_cert_chain(*authority)
    trusting.load_verify_locations(authority[0])
    application = web.Application()
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    found = Internet(AllHere({}), trusting)
    application.router.add_get("/{path:.*}", found.answer)
    await runner.setup()
    async with listening(runner, None) as plain, listening(runner, serving) as secure:
        found.resolver = AllHere({80: plain, 443: secure, 8443: secure})
        yield found
        await runner.cleanup()


def table() -> web.Response:
    return web.Response(text=EXPORT, content_type="text/csv")


async def test_the_export_s_old_address_leads_to_the_new_one_with_the_token(internet: Internet) -> None:
    internet.answers = {
        "elite.finviz.com/export.ashx": "/export/screener?v=111&o=-change",
        "elite.finviz.com/export/screener": table(),
    }
    assert await internet.fetch("https://elite.finviz.com/export.ashx?v=111&o=-change", others=False) == (
        "csv",
        ["NVDA", "AAPL"],
        True,
    )
    assert internet.asked == [
        f"https://elite.finviz.com/export.ashx?v=111&o=-change&auth={TOKEN}",
        f"https://elite.finviz.com/export/screener?v=111&o=-change&auth={TOKEN}",
    ]


async def test_the_new_address_is_an_export(internet: Internet) -> None:
    internet.answers = {"elite.finviz.com/export/screener": table()}
    found = await internet.fetch("https://elite.finviz.com/export/screener?v=111", others=False)
    assert found == ("csv", ["NVDA", "AAPL"], True)
    assert internet.asked == [f"https://elite.finviz.com/export/screener?v=111&auth={TOKEN}"]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/export.ashx",
        "https://evil.example/export/screener?x=elite.finviz.com",
        "https://finviz.com.evil.example/export.ashx",
        "http://elite.finviz.com/export.ashx",
        "https://elite.finviz.com:8443/export.ashx",
        "https://finviz.com@evil.example/export.ashx",
        "https://elite.finviz.com:443@evil.example/export.ashx",
    ],
)
async def test_no_other_place_gets_the_token(internet: Internet, url: str) -> None:
    for host in (*NAMES, "elite.finviz.com:8443"):
        for path in ("export.ashx", "export/screener"):
            internet.answers[f"{host}/{path}"] = table()
    assert (await internet.fetch(url)).tickers == ["NVDA", "AAPL"]
    assert len(internet.asked) == 1
    assert "auth" not in internet.asked[0]


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/export.ashx",
        "//evil.example/export.ashx",
        f"https://evil.example/export.ashx?auth={TOKEN}",
        "http://elite.finviz.com/export/screener",
        f"http://elite.finviz.com/export/screener?v=111&AUTH={TOKEN}",
        "https://finviz.com@evil.example/export.ashx",
    ],
)
async def test_a_redirect_does_not_forward_the_token(internet: Internet, location: str) -> None:
    internet.answers = {
        "elite.finviz.com/export.ashx": location,
        "elite.finviz.com/export/screener": table(),
        "evil.example/export.ashx": table(),
    }
    assert (await internet.fetch("https://elite.finviz.com/export.ashx")).tickers == ["NVDA", "AAPL"]
    assert [TOKEN in asked for asked in internet.asked] == [True, False]
    internet.asked.clear()
    with pytest.raises(ProviderError, match=r"must be an https:// URL on finviz\.com") as refused:
        await internet.fetch("https://elite.finviz.com/export.ashx", others=False)
    assert len(internet.asked) == 1
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    "location",
    [
        f"https://evil.example/{TOKEN}",
        f"http://finviz.com/?next=auth%3D{TOKEN}",
        f"//evil.example/?t={TOKEN}",
    ],
)
async def test_a_redirect_that_shows_the_token_to_others_is_not_followed(
    internet: Internet, location: str
) -> None:
    internet.answers = {"elite.finviz.com/export.ashx": location}
    with pytest.raises(ProviderError, match="would carry the token to another site") as refused:
        await internet.fetch("https://elite.finviz.com/export.ashx")
    assert len(internet.asked) == 1
    assert TOKEN not in str(refused.value)


async def test_a_token_typed_for_a_page_of_finviz_goes_no_further(internet: Internet) -> None:
    internet.answers = {
        "elite.finviz.com/screener.ashx": "https://evil.example/screener.ashx?auth=typed",
        "evil.example/screener.ashx": web.Response(
            text=page(boxover_row, tickers(3)), content_type="text/html"
        ),
    }
    found = await internet.fetch("https://elite.finviz.com/screener.ashx?auth=typed")
    assert found.tickers == tickers(3)
    assert ["typed" in asked for asked in internet.asked] == [True, False]


@pytest.mark.parametrize("path", ["screener.ashx", "list.csv", "api/today"])
@pytest.mark.parametrize("media_type", ["text/csv", "text/plain", "application/octet-stream", "text/html"])
async def test_a_table_is_read_completely_from_any_address(
    internet: Internet, path: str, media_type: str
) -> None:
    internet.answers[f"evil.example/{path}"] = web.Response(
        text="Symbol,Name\n" + "".join(f"{each},x\n" for each in tickers(45)), content_type=media_type
    )
    found = await internet.fetch(f"https://evil.example/{path}?v=111")
    assert found == ("csv", tickers(45), True)
    assert len(internet.asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (web.Response(text="<title>Too Many Requests</title>"), "Too Many Requests"),
        (web.Response(text="Too Many Requests"), "Too Many Requests"),
        (web.Response(text="<h1>Just a moment...</h1>", content_type="text/html"), "Just a moment"),
        (web.Response(text="", status=429), "HTTP 429"),
        (web.Response(text="", status=403), "HTTP 403"),
        (web.Response(text="", status=503, headers={"Retry-After": "70"}), "HTTP 503"),
    ],
)
@pytest.mark.parametrize("path", ["screener.ashx", "export/screener"])
async def test_a_block_is_recognised_by_status_or_text(
    internet: Internet, answer: web.Response, words: str, path: str
) -> None:
    internet.answers[f"elite.finviz.com/{path}"] = answer
    with pytest.raises(BlockedError, match=words) as refused:
        await internet.fetch(f"https://elite.finviz.com/{path}?v=111")
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("path", ["screener.ashx", "export/screener"])
async def test_an_answer_is_limited_after_it_is_unpacked(internet: Internet, path: str) -> None:
    bomb = gzip.compress(b"<b>" * 70_000_000, 1)
    internet.answers[f"elite.finviz.com/{path}"] = web.Response(
        body=bomb, headers={"Content-Encoding": "gzip"}, content_type="text/html"
    )
    with pytest.raises(ProviderError, match=r"elite\.finviz\.com: larger than 2 MB"):
        await internet.fetch(f"https://elite.finviz.com/{path}")


async def test_nothing_of_a_page_or_an_address_is_quoted(internet: Internet) -> None:
    hidden = "h1dden words"
    internet.answers = {
        "evil.example/screener.ashx": f"/{hidden}?x={hidden}",
        f"evil.example/{hidden}": web.Response(text=f"<title>{hidden}</title>", content_type="text/html"),
        "evil.example/export.ashx": web.Response(text=f"{hidden},Ticker\n1,{hidden}\n"),
    }
    for path in ("screener.ashx", "export.ashx"):
        with pytest.raises(ProviderError) as refused:
            await internet.fetch(f"https://evil.example/{path}")
        assert "h1dden" not in str(refused.value)
        assert str(refused.value).startswith("evil.example: ")


async def test_a_body_that_hangs_ends_the_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finviz, "_PAGE_SECONDS", 0.5)
    writers: list[asyncio.StreamWriter] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<html>")
        await writer.drain()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with finviz.open_client() as http, Parser() as parser:
            url = f"http://127.0.0.1:{port}/screener.ashx"
            request = Request(
                url, 20, 20, NOWHERE, http, Pace(lambda: None), parser, "", allow_other_hosts=True
            )
            with pytest.raises(ProviderError, match=r"127\.0\.0\.1: timed out after 0\.5 s"):
                await provider_of(url).fetch(request)
        for writer in writers:
            writer.close()


async def test_a_second_answer_to_one_page_is_not_the_answer_to_the_next() -> None:
    lists, has_answered_twice = [b"Ticker\nAAPL\n", b"Ticker\nMSFT\n"], asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            body = lists.pop(0)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            if not has_answered_twice.is_set():
                await asyncio.sleep(0.02)
                writer.write(head.encode() + b"Ticker\nTSLA\n")
                has_answered_twice.set()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/list.csv"
        async with finviz.open_client() as http, Parser() as parser:
            request = Request(
                url, 20, 20, NOWHERE, http, Pace(lambda: None), parser, "", allow_other_hosts=True
            )
            assert (await provider_of(url).fetch(request)).tickers == ["AAPL"]
            await has_answered_twice.wait()
            assert (await provider_of(url).fetch(request)).tickers == ["MSFT"]


async def test_a_site_without_a_valid_certificate_gets_no_request(internet: Internet) -> None:
    internet.trusted = ssl.create_default_context()
    with pytest.raises(ProviderError, match="no connection over TLS"):
        await internet.fetch("https://elite.finviz.com/export.ashx")
    assert internet.asked == []
