"""A person at the page: actions, messages of the page, and the effects in the database."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playwright.async_api import expect

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg
    from playwright.async_api import Locator, Page

    from tests.api.trading.receiver import Receiver
    from tests.browser.conftest import Application

LISTED = ("NVDA", "AAPL", "TSLA", "MSFT", "AMD")
WEBHOOK_SECRET = "the-secret-of-the-webhook"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>\"'{{7*7}}\u202e"


@dataclass(slots=True)
class Desk:
    """The page after signing in, its application, its database, and a running destination."""

    page: Page
    application: Application
    database: asyncpg.Pool[asyncpg.Record]
    receiver: Receiver
    folder: Path

    async def open(self, view: str) -> Page:
        """Open a view and wait until it is live."""
        await self.page.goto(f"/admin/page/{view}")
        await self.page.locator("#connection[data-state=live]").wait_for()
        return self.page

    def send(self, ticker: str, action: str, **fields: Any) -> str:
        """Post an alert, and return its signal's id."""
        return self.application.post(ticker=ticker, action=action, secret=WEBHOOK_SECRET, **fields)

    async def confirm(self, action: str, *, typed: str = "", reason: str = "") -> None:
        """Confirm the open dialog: type the word, give the reason, press the button."""
        dialog = self.page.get_by_role("dialog", name=action)
        await expect(dialog).to_be_visible()
        proceed = dialog.get_by_role("button", name=action)
        if typed:
            await expect(proceed).to_be_disabled()
            await dialog.get_by_label("Type").fill(typed)
        if reason:
            await expect(proceed).to_be_disabled()
            await dialog.get_by_role("textbox").fill(reason)
        await proceed.click()
        await expect(dialog).to_be_hidden()

    @property
    def notice(self) -> Locator:
        """Return the notice at the foot of the page."""
        return self.page.locator("#notice")

    async def log(self) -> list[tuple[str, str, Any, Any, str]]:
        """Return this session's actions, oldest first: action, target, before, after, result."""
        rows = await self.database.fetch(
            "SELECT session, action, target, before, after, result FROM actions ORDER BY id"
        )
        rows = [row for row in rows if row["session"] not in {"token", "file"}]
        return [
            (
                row["action"],
                row["target"],
                json.loads(row["before"] or "null"),
                json.loads(row["after"] or "null"),
                row["result"],
            )
            for row in rows
        ]

    async def hold(self, *tickers: str) -> None:
        """Buy the tickers, and wait until each has its position."""
        for ticker in tickers:
            self.send(ticker, "buy")
        await self.open("positions")
        for ticker in tickers:
            await expect(self.position(ticker)).to_be_visible()

    async def download(self, control: Locator) -> list[dict[str, str]]:
        """Press a download button, and return the rows of the file."""
        async with self.page.expect_download() as download:
            await control.click()
        path = await (await download.value).path()
        text = await asyncio.to_thread(path.read_text, "utf-8")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def position(self, ticker: str) -> Locator:
        """Return the row of an open position."""
        return self.page.locator("tr[id^=position-]").filter(has_text=ticker)
