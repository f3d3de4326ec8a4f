"""Checks of every view: axe in both themes, a phone's width, the keyboard only."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Literal

from axe_playwright_python.async_playwright import Axe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from playwright.async_api import Page

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
PHONE, DESK = 360, 1440
EVERYWHERE = tuple(product((PHONE, DESK), THEMES))


async def check_looks(page: Page, looks: Iterable[tuple[int, Theme]] = EVERYWHERE) -> None:
    """Assert that axe finds nothing and nothing scrolls sideways, at these widths in these themes."""
    for width, theme in looks:
        await page.set_viewport_size({"width": width, "height": 800})
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        found = (await Axe().run(page)).response["violations"]
        shown = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
        assert shown == [], (page.url, width, theme)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, (page.url, width)


async def check_keyboard(page: Page) -> None:
    """Assert that Tab reaches every control in document order, and that the focus is visible."""
    await page.set_viewport_size({"width": DESK, "height": 800})
    usable = await page.evaluate(_USABLE)
    reached: list[int] = []
    await page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
    dates = await page.locator("[type=date]").count()
    for _ in range(len(usable) + 4 * dates + 5):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(_FOCUSED)
        if focused and reached and focused["number"] == reached[-1]:  # the next part of a date
            continue
        if focused is None or focused["number"] in reached:  # left the page, or wrapped around
            break
        assert focused["outlined"], (page.url, focused)
        reached.append(focused["number"])
    missed = [html for number, html in enumerate(usable) if number not in reached]
    assert reached == list(range(len(usable))), (page.url, missed)


# Stored as elements, not marked in the document: views are rendered again meanwhile.
_USABLE = """() => {
    const kinds = "a[href], button, input, select, textarea, summary, [tabindex='0']";
    window.usable = [...document.querySelectorAll(kinds)]
        .filter((element) => element.checkVisibility() && !element.disabled && element.type !== "hidden");
    return usable.map((element) => element.outerHTML.slice(0, 120));
}"""
_FOCUSED = """() => {
    const element = document.activeElement;
    const number = usable.indexOf(element);
    if (number < 0) return null;
    const style = getComputedStyle(element);
    return {
        number,
        outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        html: element.outerHTML.slice(0, 120),
    };
}"""
