"""Odd requests to every route of the real server: an answer below 500, one line in the log, no traceback."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import ADMIN_TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.api.conftest import AppServer

BEARER = f"Authorization: Bearer {ADMIN_TOKEN}".encode()
ANSWER_SECONDS = 30.0  # generous: a wrong token alone may wait for 5 s

# Routes that read a body, and how: a form, JSON by FastAPI, a stream of our own.
READERS = [
    "POST /admin/sign-in",
    "POST /admin/preferences",
    "POST /admin/database/import",
    "POST /admin/database/clear",
    "POST /admin/order/sell-individual",
    "POST /admin/order/mark-closed",
    "POST /admin/dead-letters/replay",
    "POST /admin/reprocessing/trigger",
    "POST /admin/what-if",
    "POST /admin/finviz/strategies",
    "PUT /admin/webhook/config",
    "PUT /admin/system/config",
    "POST /webhook/in",
]
ROUTES = [
    *READERS,
    "GET /admin",
    "GET /admin/status",
    "GET /admin/signals",
    "GET /admin/trades",
    "GET /admin/page/signals",
    "GET /admin/page/trades",
    "GET /admin/page/refused",
    "GET /admin/actions-log",
    "GET /admin/sign-in",
    "GET /health",
    "GET /docs",
    "GET /openapi.json",
    "GET /static/icon.svg",
    "POST /admin/sign-out",
    "GET /nowhere",
]


@pytest.fixture
def trouble(caplog: pytest.LogCaptureFixture) -> Iterator[list[Any]]:
    """Yield the list of what is logged with a traceback, by the application or by a library."""
    found: list[Any] = []
    with structlog.testing.capture_logs() as lines:
        yield found
    found += [line for line in lines if line["log_level"] in {"error", "critical"} or "exc_info" in line]
    found += [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]
    assert found == []


async def exchange(app: AppServer, request: bytes, *, leave: bool = False) -> bytes:
    """Send bytes, and return the response's first line; with `leave`, disconnect at once."""
    host, _, port = app.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        await writer.drain()
        if leave:
            return b""
        async with asyncio.timeout(ANSWER_SECONDS):
            return await reader.readline()
    finally:
        writer.close()


def status_of(line: bytes) -> int:
    """Return the status of a response's first line."""
    found = re.match(rb"HTTP/1\.1 (\d{3})", line)
    assert found is not None, line
    return int(found[1])


async def failed(app: AppServer, asked: dict[str, bytes]) -> dict[str, bytes]:
    """Send requests in parallel, and return the responses that are errors of ours."""
    gate = asyncio.Semaphore(16)

    async def one(each: bytes) -> bytes:
        async with gate:
            return await exchange(app, each)

    answers = await asyncio.gather(*map(one, asked.values()))
    return {name: line for name, line in zip(asked, answers, strict=True) if status_of(line) >= 500}


def request(route: str, *headers: bytes, body: bytes = b"", token: bool = True) -> bytes:
    """Return a request as bytes; a given header replaces the default one of that name."""
    given_names = {header.partition(b":")[0].strip().lower() for header in headers}
    ordinary = [b"Host: localhost", b"Content-Length: %d" % len(body), *([BEARER] if token else [])]
    kept = [header for header in ordinary if header.partition(b":")[0].lower() not in given_names]
    head = [f"{route} HTTP/1.1".encode("latin-1"), *kept, *headers]
    return b"\r\n".join([*head, b"", body])


@pytest_asyncio.fixture
async def app(app_server: AppServer, trouble: list[Any]) -> AsyncIterator[AppServer]:
    """Start the application, and check its log at the end."""
    yield app_server
    assert trouble == []
    answer = await exchange(app_server, request("GET /health"))
    assert status_of(answer) == 200


async def test_clients_that_disconnect_within_the_body_cause_one_log_line_each(app: AppServer) -> None:
    with structlog.testing.capture_logs() as lines:
        for route in READERS:
            half = request(route, b"Content-Length: 1000", b"Content-Type: application/json", body=b'{"token')
            await exchange(app, half, leave=True)
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                ended = [line for line in lines if line["event"] == "request"]
                if len(ended) == len(READERS) - 1:  # the webhook's own log is of posts, and this was none
                    break
                await asyncio.sleep(0.02)  # no event reports that the server has noticed their end
    assert {(line["route"], 400 <= line["status"] < 500) for line in ended} == {
        (route.partition(" ")[2], True) for route in READERS if "webhook/in" not in route
    }
    assert [line for line in lines if line["log_level"] not in {"info", "warning"}] == []


ODD_HEADERS = [
    b"Origin: http://[",
    b"Origin: http://]/",
    b"Origin: //[::1",
    b"Origin: null",
    b"Origin: \xff\xfe",
    b"Referer: http://[",
    b"Host: [",
    b"Host: ]:80:80",
    b"Host: a b",
    b"Host: \xff",
    b"X-Forwarded-Host: [",
    b"X-Forwarded-For: [, \xff, 999",
    b"X-Forwarded-Proto: \xff",
    b"Cookie: tsp_session=\xff; language=\xff; theme=; =; ;;",
    b"Cookie: tsp_session=a.b.c",
    b"Accept-Language: de;q=nan, pt;q=inf, ,;q=, en;q=1e999, \xff;q=0.5",
    b"Authorization: Basic",
    b"Content-Type: application/json; charset=no-such",
    b"Content-Type: multipart/form-data",
    b"Content-Encoding: gzip",
    b"If-None-Match: \xff",
    b"If-Modified-Since: Mon, 99 Foo 99999 99:99:99 GMT",
    b"Range: bytes=9999999999999999999999-",
    b"Range: bytes=a-b,",
    b"Idempotency-Key: \xff" + b"k" * 3000,
    b"X-Webhook-Secret: \xff",
]


async def test_odd_headers_are_answered(app: AppServer) -> None:
    asked = {
        f"{route} {header!r} {token}": request(route, header, body=b"{}", token=token)
        for route in ROUTES
        for header in ODD_HEADERS
        for token in (True, False)
    }
    wrong = request("GET /admin/status", b"Authorization: Bearer \xff\xfe", token=False)
    assert await failed(app, {**asked, "wrong token": wrong}) == {}


ODD_QUERIES = [
    *("%ff=%ff", "%", "%u0041", "limit=%00", "ticker=%00", "ticker=%ed%a0%80", "next=http://[", "next=%5b"),
    *("cursor=%D9%A1", "limit=1e400", "status=%ff&status=failed", "fragment=%ff", "hours=-1", "action=%00"),
    *("&&&;=;", "cursor=" + "9" * 5000, "a=1&" * 2000),
]


async def test_odd_queries_are_answered(app: AppServer) -> None:
    asked = {
        f"{route}?{query}": request(f"{route}?{query}", body=b"{}")
        for route in ROUTES
        for query in ODD_QUERIES
    }
    assert await failed(app, asked) == {}


ODD_PATHS = [
    *("/admin/%ff", "/admin/signals/%00", "/admin/finviz/strategies/%00", "/%", "/static/%00", "/static/%ff"),
    *("/admin/page/signals/%ed%a0%80", "/admin/finviz/strategies/%2e%2e", "/static/" + "a" * 5000),
]


async def test_odd_paths_are_answered(app: AppServer) -> None:
    methods = ("GET", "PUT", "DELETE", "POST", "HEAD", "OPTIONS", "TRACE", "BREW")
    asked = {
        f"{method} {path}": request(f"{method} {path}", body=b"{}")
        for path in ODD_PATHS
        for method in methods
    }
    assert await failed(app, asked) == {}


ODD_BODIES = [
    b"[" * 60_000,
    b'{"a":' * 30_000,
    b"[" * 2_000 + b"]" * 2_000,
    b'{"ticker":"\\ud800","reason":"\\ud800","name":"\\ud800","url":"\\ud800","tickers":["\\ud800"]}',
    b'{"\\ud800":1,"name":["\\ud800"]}',
    b'{"name":"\\u0000","url":"\\u0000","position_id":"\\u0000"}',
    b'{"name":NaN,"timeout":NaN,"retry_seconds":[NaN,Infinity]}',
    b'{"timeout":' + b"9" * 5000 + b"}",
    b'{"timeout":1e400,"max_req_per_min":1e400}',
    b'{"max_signal_age_seconds":' + b"[" * 900 + b"]" * 900 + b"}",
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b"null",
    b'"text"',
    b"",
    b"token=%ff%00&next=http://[&language=\xff",
    b"&" * 4000,
    b"token=" + b"%" * 4000,
]


async def test_odd_bodies_are_answered(app: AppServer) -> None:
    asked = {
        f"{route} {kind!r} {body[:60]!r}": request(route, b"Content-Type: " + kind, body=body)
        for route in READERS
        for kind in (b"application/json", b"application/x-www-form-urlencoded")
        for body in ODD_BODIES
        if (route, body[:6]) != ("POST /admin/sign-in", b"token=")  # a wrong token waits for its answer
    }
    assert await failed(app, asked) == {}


NAMES = st.sampled_from(
    [
        *("Origin", "Referer", "Host", "Cookie", "Accept-Language", "Accept", "Content-Type"),
        *("If-None-Match", "If-Modified-Since", "Range", "X-Forwarded-Host", "X-Forwarded-For"),
        *("X-Forwarded-Proto", "X-Webhook-Secret", "Idempotency-Key", "webhook-id", "Sec-Fetch-Site"),
    ]
)
# what urls, cookies and weights are made of, and any other byte a header may hold
PIECES = st.sampled_from([b"http://", b"[", b"]", b"%", b"://", b":", b";", b"=", b",", b"q=", b'"', b"\\"])
BYTES = st.binary(max_size=6).map(lambda raw: re.sub(rb"[\r\n\0]", b"", raw))
VALUES = st.lists(PIECES | BYTES, max_size=8).map(b"".join)
HEADERS = st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4, unique_by=lambda each: each[0])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(route=st.sampled_from(ROUTES), headers=HEADERS)
async def test_any_headers_are_answered(app: AppServer, route: str, headers: list[tuple[str, bytes]]) -> None:
    given_headers = [name.encode() + b": " + value for name, value in headers]
    line = await exchange(app, request(route, *given_headers, body=b"{}"))
    assert status_of(line) < 500
