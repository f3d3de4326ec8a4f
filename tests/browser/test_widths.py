"""No view is wider than its window, at any width, with the longest ticker and destination."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import asyncpg
import pytest

from app.admin.views import VIEWS
from tests.browser.conftest import TOP_N, choose, serving
from tests.browser.signals import add_history
from tests.browser.test_every_view import read_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.async_api import Page

    from tests.browser.conftest import Application

WIDTHS = range(320, 1921, 16)
TICKER = "W" * 40
DESTINATION = "https://webhooks.traderspost.io/trading/webhook/0123456789/abcdef"
# What is wider than the window, and what of the head is not in its one row or lies upon its neighbour.
FAULTS = """() => {
    const faults = [];
    const { clientWidth: width, scrollWidth: scrolled } = document.documentElement;
    if (scrolled > width) faults.push(`page ${scrolled}`);
    const head = document.querySelector(".bar");
    const box = (element) => element.getBoundingClientRect();
    const parts = [...head.children].filter((each) => each.checkVisibility() && box(each).width > 0
        && getComputedStyle(each).position !== "absolute" && !each.matches("[popover]"));
    parts.reduce((left, right) => {
        const isUpon = left && box(right).left < box(left).right - 0.5;
        if (isUpon) faults.push(`${right.id || right.className} upon its neighbour`);
        return right;
    }, null);
    if (parts.some((each) => box(each).right > width + 0.5)) faults.push("head beyond the edge");
    if (box(head).height > 64) faults.push(`head ${box(head).height} px high`);
    return faults;
}"""


LONGEST = (
    "UPDATE signals SET ticker = $1, quantity = 1000000.5, quantity_unit = 'shares'",
    """INSERT INTO positions (ticker, status, buys, quantity, average_price)
       VALUES ($1, 'open', 1, 1000000.5, 1234.5678)""",
    """INSERT INTO positions (ticker, status, buys, average_price, realized, closed_at)
       VALUES ($1, 'closed', 1, 1234.5678, -123456.78, now())""",
)


@pytest.fixture
def application(database_url: str, tmp_path: Path) -> Iterator[Application]:
    """A live application; nothing is posted, so it sends nothing."""
    choose(tmp_path, *TOP_N, TICKER[:20])
    (tmp_path / "webhook_config.json").write_text(json.dumps({"url": DESTINATION}), "utf-8")
    with serving(database_url, tmp_path) as running:
        yield running


async def test_no_view_is_wider_than_its_window(signed_in: Page, application: Application) -> None:
    await add_history(application.database_url, 12)
    connection = await asyncpg.connect(application.database_url)
    for statement in LONGEST:
        await connection.execute(statement, TICKER)
    await connection.close()
    faults = []
    for language in ("en", "pt-BR"):
        await read_in(signed_in, language)
        for view in VIEWS:
            await signed_in.goto(view.path)
            await signed_in.locator("#connection[data-state=live]").wait_for()
            for width in WIDTHS:
                await signed_in.set_viewport_size({"width": width, "height": 800})
                faults += [(language, view.name, width, each) for each in await signed_in.evaluate(FAULTS)]
    assert faults == []
