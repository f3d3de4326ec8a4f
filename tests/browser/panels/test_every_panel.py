"""Rules for every panel: readable, operable by keyboard, without secrets."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest
from axe_playwright_python.async_playwright import Axe

from tests.api.trading.receiver import always
from tests.browser.conftest import ADMIN_TOKEN
from tests.browser.panels.conftest import ELITE_AUTH, SIGNING_SECRET
from tests.browser.panels.desk import HOSTILE, LISTED, WEBHOOK_SECRET

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.browser.panels.desk import Desk

PANELS = (
    *("positions", "trades", "dead-letters", "refused", "actions", "strategies", "sources", "configuration"),
    *("destinations", "database"),
)
TOKEN_IN_A_URL = "a-token-in-a-url"
# In each language both themes and both widths occur, crosswise.
LOOKS: dict[str, list[tuple[Any, int]]] = {
    "en": [("light", 1440), ("dark", 360)],
    "pt-BR": [("dark", 1440), ("light", 360)],
}


async def fill(desk: Desk) -> None:
    """Create content for every panel."""
    strategies = [
        {"name": "test", "url": "list:" + ",".join(LISTED)},
        {
            "name": f"elite {HOSTILE}",
            "url": f"https://elite.finviz.com/export.ashx?v=1&auth={TOKEN_IN_A_URL}",
        },
    ]
    document = {"active": "test", "strategies": strategies}
    (desk.folder / "finviz_config.json").write_text(json.dumps(document), "utf-8")
    digests = [sha256(name.encode()).hexdigest() for name in "ab"]
    tokens = [
        {"name": "A rather long name (of a program)", "sha256": digests[0], "scope": "operate"},
        {"name": "b", "sha256": digests[1], "scope": "read"},
    ]
    (desk.folder / "system_config.json").write_text(json.dumps({"tokens": tokens}), "utf-8")
    await desk.database.execute("INSERT INTO revoked_tokens VALUES ($1)", digests[1])
    desk.send("NVDA", "buy")
    await desk.receiver.count(1)
    desk.receiver.answer = always(400)
    desk.send("AAPL", "buy")
    await desk.receiver.count(2)
    with pytest.raises(HTTPError, match="422"):
        desk.send(HOSTILE, "buy")
    await desk.database.execute(
        """INSERT INTO actions (session, origin, action, target, before, after, result) VALUES
           ('someone', '127.0.0.1', 'strategy.change', $1, $2, $3, 'done'),
           ('token', '127.0.0.1', 'webhook.configure', '', NULL, NULL, $4)""",
        HOSTILE,
        json.dumps({"strategies.test": {"top_n": 1}}),
        json.dumps({"strategies.test": {"top_n": 2, "description": HOSTILE}}),
        f"refused: {HOSTILE}",
    )
    await desk.open("strategies")
    await desk.page.get_by_text("elite").first.wait_for()
    await desk.open("dead-letters")
    await desk.page.locator("tr[id^=dead-]").wait_for()


async def unfold(page: Page) -> None:
    """Open all collapsed parts, so that everything is checked."""
    await page.evaluate("document.querySelectorAll('main details').forEach((each) => (each.open = true))")


async def test_every_panel_is_readable(desk: Desk) -> None:
    await fill(desk)
    for language, looks in LOOKS.items():
        await desk.page.context.add_cookies(
            [{"name": "language", "value": language, "url": desk.application.url}]
        )
        for panel in PANELS:
            page = await desk.open(panel)
            assert await page.locator("html").get_attribute("lang") == language
            await unfold(page)
            for theme, width in looks:
                await page.set_viewport_size({"width": width, "height": 800})
                await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                found = (await Axe().run(page)).response["violations"]
                shown = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
                assert shown == [], (panel, language, theme, width)
                scrolled = await page.evaluate("document.documentElement.scrollWidth")
                assert scrolled <= width, (panel, language, width)
            assert "alert(1)" not in await page.evaluate(
                "[...document.scripts].map((each) => each.textContent).join()"
            )


async def test_every_panel_is_operable_by_keyboard(desk: Desk) -> None:
    await fill(desk)
    for panel in PANELS:
        page = await desk.open(panel)
        await unfold(page)
        await page.evaluate(
            """() => {
                window.reached = new Set();
                document.addEventListener("focusin", ({ target }) => {
                    const { outlineStyle, outlineWidth } = getComputedStyle(target);
                    if (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2) reached.add(target);
                });
                window.left = () => [...document.querySelectorAll(
                    "main :is(a[href], button, input, select, textarea, summary, [tabindex='0'])"
                )].filter((each) => each.checkVisibility() && !each.disabled && !reached.has(each));
            }"""
        )
        await page.locator("#main").focus()
        stops = await page.evaluate("left().length + 4 * document.querySelectorAll('[type=date]').length")
        for _ in range(stops + 2):  # a date has several
            await page.keyboard.press("Tab")
        assert await page.evaluate("left().map((each) => each.outerHTML)") == [], panel


async def test_no_secret_is_in_any_page(desk: Desk) -> None:
    await fill(desk)
    page = await desk.open("configuration")
    await page.get_by_label("Time-out").fill("6")
    await page.get_by_role("button", name="Save").first.click()
    await page.get_by_text("Saved and effective.").wait_for()
    signals = await desk.database.fetch("SELECT id FROM signals")
    assert signals
    views = [f"/admin/page/{panel}" for panel in PANELS]
    stories = [f"/admin/page/signals/{row['id']}" for row in signals]
    path, _, query = desk.receiver.url.removeprefix("http://").partition("/")[2].partition("?")
    secrets = (ADMIN_TOKEN, WEBHOOK_SECRET, SIGNING_SECRET, ELITE_AUTH, TOKEN_IN_A_URL, f"/{path}", query)
    for address in ("/admin", "/admin/page/signals", *views, *stories):
        answer = await page.request.get(address)
        assert answer.ok
        html = await answer.text()
        assert [secret for secret in secrets if secret in html] == [], address
