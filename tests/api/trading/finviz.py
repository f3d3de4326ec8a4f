"""A screener's site on loopback: pages of any epoch, blocked, half broken or zipped, and the export."""

from __future__ import annotations

import csv
import io
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from tests.unit.app.screener.pages import boxover_row, page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@dataclass(slots=True)
class Site:
    """A site whose content a test may change; `asked` records time and first row or token.

    `spoil` answers in place of a page, or None for the page itself.
    """

    url: str = ""
    tickers: list[str] = field(default_factory=list)
    row: Callable[[int, str], str] = boxover_row
    spoil: Callable[[int], web.StreamResponse | None] = lambda _: None
    asked: list[tuple[float, str]] = field(default_factory=list)
    is_signed_out: bool = False

    async def screen(self, request: web.Request) -> web.StreamResponse:
        """Return a page of twenty rows."""
        first = int(request.query["r"])
        self.asked.append((time.monotonic(), request.query["r"]))
        if (instead := self.spoil(first)) is not None:
            return instead
        total = len(self.tickers)
        answer = web.Response(
            text=page(
                self.row,
                self.tickers[first - 1 : first + 19],
                first=first,
                total=total,
                pager=range(21, total + 1, 20),
            ),
            content_type="text/html",
        )
        answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Return the whole list as CSV, or the sign-in page with which Finviz answers a wrong token."""
        self.asked.append((time.monotonic(), request.query.get("auth", "")))
        if self.is_signed_out:
            return web.Response(text="<html><title>Login</title></html>", content_type="text/html")
        table = io.StringIO()
        csv.writer(table).writerows(
            [["No.", "Ticker"], *([number, ticker] for number, ticker in enumerate(self.tickers, 1))]
        )
        return web.Response(text=table.getvalue(), content_type="text/csv")

    async def moved(self, request: web.Request) -> web.StreamResponse:
        """Redirect from the screen's earlier address."""
        raise web.HTTPFound(f"/screener.ashx?{request.query_string}")


@asynccontextmanager
async def showing(*tickers: str) -> AsyncIterator[Site]:
    """Run a site on a loopback port until the block ends."""
    site = Site(tickers=list(tickers))
    application = web.Application()
    application.router.add_get("/screener.ashx", site.screen)
    application.router.add_get("/moved.ashx", site.moved)
    application.router.add_get("/export.ashx", site.export)
    application.router.add_get("/export/screener", site.export)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield site
    finally:
        await runner.cleanup()
