"""A list under the pointer stays still; Back, a reload and a slow line keep what one sees."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
from playwright.async_api import expect

from tests.browser.signals import add_history

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

    from tests.browser.conftest import Application

EVENT = "INSERT INTO signal_events (signal_id, status) VALUES ($1, 'forwarded')"
TOP = "(row) => row.getBoundingClientRect().top"


async def open_live(page: Page, path: str) -> None:
    """Go to a view and wait until its line is live."""
    await page.goto(path)
    await page.locator("#connection[data-state=live]").wait_for()


async def test_no_row_moves_under_the_pointer(signed_in: Page, application: Application) -> None:
    """New rows are counted on a button; an alarm above the list does not push it, either."""
    ids = await add_history(application.database_url, 40)
    await open_live(signed_in, "/admin/page/signals")
    pointed = signed_in.locator(f"tr[id='signal-{ids[-12]}']")
    await pointed.locator(".status").hover()
    before = await pointed.evaluate(TOP)
    posted = [application.post(ticker=f"NEW{number}", action="buy") for number in range(3)]
    fresh = signed_in.locator("#fresh")
    await expect(fresh).to_have_text("3 new, show")
    assert await pointed.evaluate(TOP) == before
    await signed_in.evaluate("fetch('/admin/delivery/pause', { method: 'POST' })")
    await expect(signed_in.locator("#alarms [data-code=delivery_paused]")).to_be_attached()
    assert abs(await pointed.evaluate(TOP) - before) <= 1
    await expect(signed_in.locator(f"tr[id='signal-{posted[0]}']")).to_have_count(0)
    await fresh.click()
    for signal_id in posted:
        await expect(signed_in.locator(f"tr[id='signal-{signal_id}']")).to_be_attached()
    await expect(fresh).to_be_hidden()


async def test_new_rows_come_when_the_pointer_leaves(signed_in: Page, application: Application) -> None:
    ids = await add_history(application.database_url, 4)
    await open_live(signed_in, "/admin/page/signals")
    await signed_in.locator(f"tr[id='signal-{ids[-1]}'] .status").hover()
    posted = application.post(ticker="NEW", action="buy")
    await expect(signed_in.locator("#fresh")).to_have_text("1 new, show")
    await signed_in.get_by_role("heading", level=1).hover()
    await expect(signed_in.locator(f"tr[id='signal-{posted}']")).to_be_visible()
    await expect(signed_in.locator("#fresh")).to_be_hidden()


async def test_a_row_that_leaves_the_list_keeps_its_place_under_the_pointer(
    signed_in: Page, application: Application
) -> None:
    """Nobody presses the button of the next row because one has gone."""
    ids = await add_history(application.database_url, 12)
    await open_live(signed_in, "/admin/page/signals?status=failed")
    rows = signed_in.locator("tbody tr")
    await expect(rows).to_have_count(3)
    await rows.nth(1).locator(".status").hover()
    top = await rows.nth(1).evaluate(TOP)
    connection = await asyncpg.connect(application.database_url)
    await connection.execute("UPDATE signals SET status = 'forwarded' WHERE id = $1", ids[-2])
    await connection.execute(
        "INSERT INTO signal_events (signal_id, status) VALUES ($1, 'forwarded')", ids[-2]
    )
    await connection.close()
    await expect(rows.nth(0)).to_have_class("left")
    assert await rows.nth(0).evaluate("(row) => row.inert")
    assert await rows.nth(1).evaluate(TOP) == top
    await signed_in.get_by_role("heading", level=1).hover()
    await expect(rows).to_have_count(2)


async def test_back_restores_the_list_its_filter_and_the_place(
    signed_in: Page, application: Application
) -> None:
    await add_history(application.database_url, 200)
    await open_live(signed_in, "/admin/page/signals")
    await signed_in.get_by_label("State").select_option("failed")
    await signed_in.wait_for_url("**/admin/page/signals?status=failed")
    await signed_in.locator("#connection[data-state=live]").wait_for()
    await signed_in.evaluate("scrollTo(0, 900)")
    place = await signed_in.evaluate("scrollY")
    assert place > 0
    await signed_in.locator(".views a[href='/admin/page/trades']").click()
    await signed_in.wait_for_url("**/trades")
    await signed_in.go_back()
    await signed_in.wait_for_url("**/admin/page/signals?status=failed")
    await expect(signed_in.get_by_label("State")).to_have_value("failed")
    states = await signed_in.locator("tbody .status").all_inner_texts()
    assert {each.strip() for each in states} == {"Failed"}
    await signed_in.wait_for_function("(place) => Math.abs(scrollY - place) < 5", arg=place)
    await signed_in.go_back()
    await signed_in.wait_for_url("**/admin/page/signals")
    await expect(signed_in.get_by_label("State")).to_have_value("")
    assert len(set(await signed_in.locator("tbody .status").all_inner_texts())) > 1


async def test_back_closes_the_timeline_and_a_reload_keeps_it(
    signed_in: Page, application: Application
) -> None:
    ids = await add_history(application.database_url, 8)
    await open_live(signed_in, "/admin/page/signals?status=failed")
    story = signed_in.locator("#story")
    await signed_in.locator("tbody tr .status").first.click()
    await expect(story).to_be_visible()
    shown = await story.locator("dd code").inner_text()
    await signed_in.reload()
    await expect(story).to_be_visible()
    await expect(story.locator("dd code")).to_have_text(shown)
    await story.get_by_role("link", name="Older").click()
    await expect(story.locator("dd code")).not_to_have_text(shown)
    await expect(story.get_by_role("link", name="Older")).to_have_count(0)  # the list has two failed ones
    await signed_in.go_back()
    await expect(story).to_be_hidden()
    assert signed_in.url.endswith("/admin/page/signals?status=failed")
    await signed_in.locator("tbody tr .status").first.click()
    await expect(story).to_be_visible()
    await signed_in.keyboard.press("Escape")
    await expect(story).to_be_hidden()
    await signed_in.wait_for_url("**/admin/page/signals?status=failed")
    await open_live(signed_in, f"/admin/page/signals#signal={ids[0]}")
    await expect(story).to_be_visible()


async def test_a_slow_line_shows_that_something_happens(signed_in: Page, application: Application) -> None:
    await add_history(application.database_url, 4)
    await open_live(signed_in, "/admin/page/signals")
    answered = asyncio.Event()

    async def late(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await signed_in.route("**/admin/page/signals/*fragment=1", late)
    waiting = signed_in.locator("html[data-waiting]")
    await expect(waiting).to_have_count(0)
    await signed_in.locator("tbody tr .status").first.click()
    await expect(waiting).to_have_count(1)
    assert await signed_in.evaluate("getComputedStyle(document.documentElement, '::before').height") == "3px"
    answered.set()
    await expect(signed_in.locator("#story")).to_be_visible()
    await expect(waiting).to_have_count(0)


async def test_a_filter_by_keyboard_keeps_the_focus(signed_in: Page, application: Application) -> None:
    await add_history(application.database_url, 12)
    await open_live(signed_in, "/admin/page/signals")
    for state in ("received", "approved"):
        await signed_in.get_by_label("State").focus()
        await signed_in.keyboard.press("ArrowDown")
        await signed_in.wait_for_url(f"**status={state}")
        await expect(signed_in.get_by_label("State")).to_be_focused()


async def test_no_row_moves_under_a_finger(signed_in: Page, application: Application) -> None:
    """A finger rests nowhere: what is shown after scrolling stays, until the reader asks or scrolls up."""
    ids = await add_history(application.database_url, 40)
    browser, cookies = signed_in.context.browser, await signed_in.context.storage_state()
    assert browser is not None
    phone = await browser.new_context(
        base_url=application.url,
        storage_state=cookies,
        viewport={"width": 360, "height": 700},
        has_touch=True,
        is_mobile=True,
    )
    page = await phone.new_page()
    await open_live(page, "/admin/page/signals")
    await page.evaluate("scrollTo(0, 1500)")
    seen = page.locator(f"tr[id='signal-{ids[-15]}']")
    before = await seen.evaluate(TOP)
    posted = application.post(ticker="NEW", action="buy")
    await expect(page.locator("#fresh")).to_have_text("1 new, show")
    assert await seen.evaluate(TOP) == before
    await page.locator("#fresh").tap()
    await expect(page.locator(f"tr[id='signal-{posted}']")).to_be_in_viewport()
    await phone.close()
