"""Refused posts and the actions log: received content is escaped, actions are shown in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.browser.panels.desk import HOSTILE, WEBHOOK_SECRET

if TYPE_CHECKING:
    from tests.browser.panels.desk import Desk


async def test_a_refused_post_is_shown_as_text(desk: Desk) -> None:
    page = await desk.open("refused")
    await expect(page.get_by_text("No post was refused.")).to_be_visible()
    body = f"</pre>\n{HOSTILE}" + "x" * 3000
    url = f"{desk.application.url}/webhook/in/{WEBHOOK_SECRET}"
    assert (await page.request.post(url, data=body.encode())).status == 422
    row = page.locator("tr[id^=refused-]")
    await expect(row).to_contain_text("HTTP 422")
    await row.get_by_text("Show as text").click()
    shown = await row.locator("pre").text_content()
    assert shown == body.encode()[:2048].decode()
    assert await page.locator("main :is(script, img[onerror])").count() == 0
    # still open after the next refresh
    async with page.expect_response("**fragment=1"):
        pass
    await expect(row.locator("pre")).to_be_visible()


async def test_the_log_has_filters_and_pages_and_is_exported(desk: Desk) -> None:
    await desk.database.execute(
        """INSERT INTO actions (session, origin, action, target, before, after, result)
           SELECT 'someone', '10.0.0.1', CASE WHEN n % 20 = 0 THEN 'order.sell-all' ELSE 'engine.pause' END,
                  $1, '{}', '{"engine_paused": true}', CASE WHEN n % 30 = 0 THEN $2 ELSE 'done' END
           FROM generate_series(1, 60) AS n""",
        HOSTILE,
        f"refused: {HOSTILE}",
    )
    page = await desk.open("actions")
    rows = page.locator("tr[id^=action-]")
    await expect(rows).to_have_count(50)
    newest = rows.first
    await expect(newest).to_contain_text(HOSTILE)
    await expect(newest.locator(".changes")).to_contain_text("engine_paused")
    await expect(newest.locator(".changes")).to_contain_text("not set")
    await page.get_by_role("link", name="Older").click()
    await expect(rows).to_have_count(10)
    await page.locator("#connection[data-state=live]").wait_for()
    async with page.expect_navigation():  # a choice is applied at once
        await page.get_by_label("About").select_option("order")
    await expect(rows).to_have_count(3)
    await page.locator("#connection[data-state=live]").wait_for()
    async with page.expect_navigation():  # a choice is applied at once
        await page.get_by_label("Result").select_option("refused")
    await expect(rows).to_have_count(1)
    await page.get_by_role("link", name="Show all").click()
    exported = await desk.download(page.get_by_role("link", name="Export the whole log"))
    assert len(exported) == 60
