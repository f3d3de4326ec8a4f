"""Draw docs/images/overview.png anew: `.venv-dev/bin/python -m pytest tests/browser/picture_of_overview.py`.

Run it after a change of the page that README's picture shows, and look at the result. `make test` leaves it
out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from tests.browser.conftest import CHECKOUT, choose, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.async_api import Page

    from tests.browser.conftest import Application

PICTURE = CHECKOUT / "docs/images/overview.png"
LISTED = (
    *("AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "AVGO", "TSLA"),
    *("AMD", "NFLX", "JPM", "V", "COST", "LLY", "UNH"),
)
ALERTS: tuple[tuple[str, str, float, float], ...] = (
    ("AAPL", "buy", 12, 271.4),
    ("NVDA", "buy", 6, 181.2),
    ("MSFT", "buy", 8, 512.4),
    ("GME", "buy", 40, 22.1),
    ("TSLA", "buy", 6, 388.9),
    ("AAPL", "sell", 12, 273.05),
    ("PLTR", "buy", 20, 166.3),
    ("AMD", "buy", 15, 176.6),
    ("NVDA", "buy", 5, 182.1),
)


@pytest.fixture
def application(database_url: str, tmp_path: Path) -> Iterator[Application]:
    """Run an application with a usual list, in paper."""
    choose(tmp_path, *LISTED)
    (tmp_path / "system_config.json").write_text('{"duplicate_buys": "add"}', "utf-8")
    with serving(database_url, tmp_path) as running:
        yield running


async def test_picture_of_the_overview(signed_in: Page, application: Application) -> None:
    page = signed_in
    await page.set_viewport_size({"width": 1440, "height": 1000})
    await page.emulate_media(color_scheme="light", reduced_motion="reduce")
    for number, (ticker, action, quantity, price) in enumerate(ALERTS, 1):
        application.post(ticker=ticker, action=action, quantity=quantity, price=price)
        await expect(page.locator("[data-metric=received]")).to_have_text(str(number))
    await page.goto("/admin")
    await page.locator("#connection[data-state=live]").wait_for()
    await page.locator("tr[id^=position-]").nth(3).wait_for()
    await page.evaluate("document.fonts.ready.then(() => true)")
    await page.screenshot(path=PICTURE)
