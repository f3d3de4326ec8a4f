"""Every view, also one added later: both languages, both themes, on a phone, by keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from app.admin.views import VIEWS
from tests.browser.looks import DESK, PHONE, check_keyboard, check_looks
from tests.browser.signals import HOSTILE, add_history

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.browser.conftest import Application
    from tests.browser.looks import Theme

PATHS = [view.path for view in VIEWS]


async def read_in(page: Page, language: str) -> None:
    """Choose the language as the page's own form does."""
    url = page.url.partition("/admin")[0]
    await page.context.add_cookies([{"name": "language", "value": language, "url": url}])


# each language in both themes, each theme at both widths
@pytest.mark.parametrize(
    ("language", "looks"),
    [("en", ((PHONE, "light"), (DESK, "dark"))), ("pt-BR", ((PHONE, "dark"), (DESK, "light")))],
)
async def test_axe_finds_nothing_and_nothing_is_wider_than_a_phone(
    signed_in: Page, application: Application, language: str, looks: tuple[tuple[int, Theme], ...]
) -> None:
    await add_history(application.database_url)
    await read_in(signed_in, language)
    for path in PATHS:
        await signed_in.goto(path)
        await signed_in.locator("#connection[data-state=live]").wait_for()
        assert await signed_in.locator("html").get_attribute("lang") == language
        await check_looks(signed_in, looks)


async def test_axe_finds_nothing_in_empty_views(signed_in: Page) -> None:
    await read_in(signed_in, "pt-BR")
    for path in PATHS:
        await signed_in.goto(path)
        await check_looks(signed_in, ((PHONE, "light"), (DESK, "dark")))


async def test_every_control_is_reached_by_keyboard_with_a_visible_focus(
    signed_in: Page, application: Application
) -> None:
    await add_history(application.database_url, 8)
    for path in PATHS:
        await signed_in.goto(path)
        await signed_in.locator("#connection[data-state=live]").wait_for()
        await check_keyboard(signed_in)


async def test_every_view_is_in_the_navigation_and_marked_as_current(signed_in: Page) -> None:
    for path in PATHS:
        await signed_in.locator(f".views a[href='{path}']").click()
        await signed_in.wait_for_url(f"**{path}")
        current = signed_in.locator(".views [aria-current=page]")
        assert await current.get_attribute("href") == path
        await expect(signed_in.get_by_role("heading", level=1)).to_have_text(await current.inner_text())


async def test_the_skip_link_comes_first_and_leads_past_the_navigation(signed_in: Page) -> None:
    await signed_in.keyboard.press("Tab")
    await expect(signed_in.locator(".skip")).to_be_focused()
    await signed_in.keyboard.press("Enter")
    await expect(signed_in.locator("#main")).to_be_focused()
    await signed_in.keyboard.press("Tab")
    assert await signed_in.evaluate("document.querySelector('main').contains(document.activeElement)")


async def test_reduced_motion_disables_animations(signed_in: Page, application: Application) -> None:
    await add_history(application.database_url, 8)
    moving = """() => [...document.querySelectorAll("*")].filter((element) => {
        const style = getComputedStyle(element);
        return style.animationName !== "none" || parseFloat(style.transitionDuration) > 0;
    }).length"""
    await signed_in.reload()
    assert await signed_in.evaluate(moving) > 0  # the ruler measures something
    await signed_in.emulate_media(reduced_motion="reduce")
    for path in PATHS:
        await signed_in.goto(path)
        assert await signed_in.evaluate(moving) == 0, path


async def test_received_text_is_escaped_and_breaks_no_layout(
    signed_in: Page, application: Application
) -> None:
    application.post(ticker="NVDA", action="buy", signal_id=HOSTILE * 100, note=HOSTILE, text="W" * 50_000)
    application.post(ticker="NVDA", action=HOSTILE, side="<b>", price="1.5")
    ids = await add_history(application.database_url, 4)
    await signed_in.goto("/admin/page/signals")
    await expect(signed_in.get_by_text(f"because {HOSTILE}").first).to_be_visible()
    for row in await signed_in.locator("tbody tr").all():
        await row.locator("a[data-story]").click()
        story = signed_in.get_by_role("dialog")
        await expect(story.locator(".body")).to_be_visible()
        for width in (PHONE, DESK):
            await signed_in.set_viewport_size({"width": width, "height": 800})
            assert await story.evaluate("(shown) => shown.scrollWidth <= shown.clientWidth"), width
            assert await signed_in.evaluate("document.documentElement.scrollWidth") <= width
        await signed_in.keyboard.press("Escape")
        await signed_in.wait_for_url("**/admin/page/signals")  # it goes back, which would abort what follows
    await signed_in.goto(f"/admin/page/signals/{ids[-1]}")
    await check_looks(signed_in)
    assert await signed_in.locator("main img, main script").count() == 0
