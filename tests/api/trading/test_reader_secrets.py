"""Files and pages that the screener reads may contain secrets: nothing of their content is shown."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from tests.api import shown
from tests.api.trading.test_known_outcomes import behaving

if TYPE_CHECKING:
    import asyncio
    import io

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

SECRET = "s3cret_w0rd"  # cannot be a ticker
WORD = SECRET.encode()
FILES = {
    "lines": b"\n".join([WORD] * 50),
    "one line": b",".join([b"AAPL", *[WORD] * 50]),
    "cells": b"Ticker;Note\r\nAAPL;" + WORD + b"\r\n" + WORD + b";x\r\n",
    "two heads": b"Ticker,Symbol," + WORD + b"\n" + WORD + b"," + WORD + b",1\n",
    "sections": b"###" + WORD + b"\n# " + WORD + b"\n",
    "an exchange": WORD + b":" + WORD + b"\n",
    "an open quote": b'Ticker,Note\nAAPL,"' + WORD + b"\n",
    "a long cell": b'"' + WORD * 20_000 + b'"\n',
    "not UTF-8": b"\xff\xfe" + WORD + b"\xff\n",
    "NUL": b"AAPL\x00" + WORD + b"\n",
    "JSON": b'{"password": "' + WORD + b'"}',
    "a page": b"<html><title>" + WORD + b"</title></html>",
}


def said(content: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return an HTTP response as bytes."""
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(content), b"Connection: close", *headers]
    return b"\r\n".join([*head, b"", content])


HTML, CSV = b"Content-Type: text/html", b"Content-Type: text/csv"
PAGE = b"<html><head><title>%b</title></head><body><h1>%b</h1>" % (WORD, WORD)
ANSWERS = {
    "a page": said(PAGE, HTML),
    "links": said(PAGE + b'<table><tr><td><a href="q?t=%b">%b</a></td></tr></table>' % (WORD, WORD), HTML),
    "too few rows": said(PAGE + b'#1 / 99 Total<a href="q?t=AAPL&x=%b">AAPL</a>' % WORD, HTML),
    "nested": said(PAGE + (b"<div id=%b>" % WORD) * 1_000, HTML),
    "a table": said(b"No.,Ticker\n1,%b\n" % WORD, CSV),
    "a torn table": said(b"No.,Ticker\n1,AAPL\n%b" % WORD, CSV),
    "no table": said(WORD * 100, CSV),
    "a server's error": said(PAGE, HTML, status=b"500 " + WORD),
    "a missing page": said(PAGE, HTML, status=b"404 " + WORD),
    "a redirect": said(b"", b"Location: /%b" % WORD, status=b"302 Found"),
    # the host of a request is shown, nothing else of its address
    "another host": said(b"", b"Location: http://other.invalid/%b?%b" % (WORD, WORD), status=b"302 Found"),
    "no address": said(b"", b"Location: http://[%b" % WORD, status=b"302 Found"),
    "a charset": said(PAGE, b"Content-Type: text/html; charset=%b" % WORD),
    "a media type": said(PAGE, b"Content-Type: %b" % WORD),
    "an encoding": said(PAGE, HTML, b"Content-Encoding: %b" % WORD),
    "torn gzip": said(gzip.compress(PAGE * 100)[:80] + WORD, HTML, b"Content-Encoding: gzip"),
    "a header": b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % WORD,
    "a status": b"HTTP/1.1 %b OK\r\n\r\n" % WORD,
    "no HTTP": WORD * 10,
    "a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n" % WORD,
    "half of it": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + PAGE,
}
# After one of these the site gets no request during the back-off.
BLOCKED = {
    "forbidden": said(PAGE, HTML, status=b"403 " + WORD),
    "too many": said(PAGE, HTML, b"Retry-After: " + WORD, status=b"429 " + WORD),
    "a challenge": said(PAGE + b"Just a moment", HTML),
}


async def refreshed(desk: Desk, app: AppServer, name: str, url: str) -> None:
    """Configure this as the only strategy, and wait for the end of its first refresh."""
    desk.configure("finviz", allow_other_hosts=True, strategies=[{"name": name, "url": url}])
    query = "SELECT count(*) FROM screener_refreshes WHERE strategy = $1"

    async def there() -> bool:
        return bool(await desk.database.fetchval(query, name))

    await desk.wait(app, there, lambda: f"{name} was not refreshed")


async def test_nothing_of_a_file_is_shown(logged: io.StringIO, desk: Desk) -> None:
    app = await desk.open()
    seen = dict[str, str]()
    for number, (name, content) in enumerate(FILES.items()):
        (desk.folder / f"list{number}.csv").write_bytes(content)
        await refreshed(desk, app, name, f"file:list{number}.csv")
        seen |= {f"{where} at {name}": text for where, text in (await shown.head(app.http)).items()}
    seen |= await shown.everything(app.http, desk.database, logged.getvalue())
    assert shown.places(seen, SECRET) == set()
    assert '"event":"refresh failed; the last good list stays"' in seen["log"]


@pytest.mark.parametrize(
    "answers", [ANSWERS, *({name: answer} for name, answer in BLOCKED.items())], ids=["pages", *BLOCKED]
)
async def test_nothing_of_a_page_is_shown(logged: io.StringIO, desk: Desk, answers: dict[str, bytes]) -> None:
    current = [b""]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(current[0])
        writer.close()

    app = await desk.open()
    seen = dict[str, str]()
    async with behaving(answer) as url:
        site = url.partition("/hook/")[0]
        for name, content in answers.items():
            current[0] = content
            await refreshed(desk, app, name, f"{site}/screener.ashx?v=111")
            if CSV in content:
                await refreshed(desk, app, f"{name}, exported", f"{site}/export.ashx?v=111")
            seen |= {f"{where} at {name}": text for where, text in (await shown.head(app.http)).items()}
        seen |= await shown.everything(app.http, desk.database, logged.getvalue())
    assert shown.places(seen, SECRET) == set()
    assert '"event":"refresh failed; the last good list stays"' in seen["log"]
