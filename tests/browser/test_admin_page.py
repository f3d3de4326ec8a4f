"""A trader's use of the page: sign-in, live signals, their reasons, reconnection."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from playwright.async_api import expect

from tests.browser.conftest import ADMIN_TOKEN
from tests.browser.looks import THEMES, check_looks
from tests.browser.signals import HOSTILE, add_history

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

    from tests.browser.conftest import Application

AT_ONCE = 10  # s; the page's limit is 0.5 s, a busy machine adds to it


def row(page: Page, signal_id: str) -> Locator:
    """Return the signal's row in the list."""
    return page.locator(f"tr[id='signal-{signal_id}']")


def number(page: Page, name: str) -> Locator:
    """Return a card's figure."""
    return page.locator(f"[data-metric={name}]")


async def test_a_wrong_token_is_refused_with_a_message(page: Page) -> None:
    await page.goto("/admin")
    await page.get_by_label("Admin token").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("not a valid token")
    assert page.url.endswith("/admin/sign-in")
    assert await page.context.cookies() == []


async def test_a_signal_arrives_and_ends_live(signed_in: Page, application: Application) -> None:
    await expect(signed_in.get_by_text("No signals yet")).to_be_visible()
    await expect(signed_in.locator("#mode")).to_contain_text("Paper")
    await signed_in.evaluate("window.neverReloaded = true")
    started = time.monotonic()
    bought = application.post(ticker="nvda", action="buy", price=100)
    await expect(row(signed_in, bought)).to_be_visible()
    await expect(number(signed_in, "received")).to_have_text("1")
    assert time.monotonic() - started < AT_ONCE
    await expect(row(signed_in, bought)).to_contain_text("Forwarded")
    await expect(number(signed_in, "forwarded")).to_have_text("1")
    await expect(number(signed_in, "open")).to_have_text("1")
    rejected = application.post(ticker="GME", action="buy")
    await expect(row(signed_in, rejected)).to_contain_text("Rejected")
    await expect(row(signed_in, rejected).locator(".reason")).to_have_text(re.compile("Top"))
    newest = signed_in.locator("tbody tr[id^=signal-]").first
    assert await newest.get_attribute("id") == f"signal-{rejected}"
    await expect(signed_in.get_by_text("No signals yet")).to_have_count(0)
    assert await signed_in.evaluate("window.neverReloaded")


async def test_the_timeline_shows_everything_and_executes_nothing(
    signed_in: Page, application: Application
) -> None:
    signal_id = application.post(ticker="NVDA", action="buy", signal_id=HOSTILE, note=HOSTILE)
    await row(signed_in, signal_id).get_by_text("Forwarded").click()
    story = signed_in.get_by_role("dialog")
    await expect(story.locator(".timeline")).to_contain_text("Approved")
    await expect(story.locator(".attempts")).to_contain_text("Delivered")
    await expect(story.get_by_text(HOSTILE, exact=True)).to_be_visible()
    assert json.loads(await story.locator(".body").inner_text())["note"] == HOSTILE
    await signed_in.keyboard.press("Escape")
    await expect(story).to_be_hidden()


async def test_the_list_has_filters_and_stays_live(signed_in: Page, application: Application) -> None:
    await signed_in.goto("/admin/page/signals")
    await signed_in.locator("#connection[data-state=live]").wait_for()  # its scripts are there
    async with signed_in.expect_navigation():  # a choice is applied at once
        await signed_in.get_by_label("State").select_option("rejected")
    await signed_in.locator("#connection[data-state=live]").wait_for()
    rejected = application.post(ticker="GME", action="buy")
    application.post(ticker="NVDA", action="buy")
    await expect(row(signed_in, rejected)).to_be_visible()
    last = application.post(ticker="TSLA", action="buy")
    await expect(row(signed_in, last)).to_be_visible()
    await expect(signed_in.locator("tbody tr")).to_have_count(2)


async def test_focus_stays_on_a_row_that_changes(signed_in: Page, application: Application) -> None:
    first = application.post(ticker="NVDA", action="buy")
    await row(signed_in, first).get_by_role("link").focus()
    second = application.post(ticker="AAPL", action="buy")
    await expect(row(signed_in, second)).to_contain_text("Forwarded")
    await expect(row(signed_in, first).get_by_role("link")).to_be_focused()
    await signed_in.keyboard.press("Enter")
    await expect(signed_in.get_by_role("dialog")).to_contain_text("NVDA")


async def test_a_page_that_reconnects_is_complete(signed_in: Page, application: Application) -> None:
    application.stop()
    connection = signed_in.locator("#connection")
    await expect(connection).to_have_attribute("data-state", "lost")
    stale = signed_in.locator("#stale")
    await expect(stale).to_contain_text(re.compile(r"\d+ s old"))
    application.start()
    missed = application.post(ticker="GME", action="buy")
    await expect(connection).to_have_attribute("data-state", "live")
    await expect(stale).to_be_hidden()
    await expect(row(signed_in, missed)).to_be_visible()


async def test_a_session_that_ended_leads_to_the_form(signed_in: Page, application: Application) -> None:
    application.stop()  # first: an application that is stopping may refuse the session, and then be away
    await signed_in.context.clear_cookies()
    application.start()
    await signed_in.wait_for_url("**/admin/sign-in?next=%2Fadmin")


async def test_signing_out(signed_in: Page) -> None:
    await signed_in.get_by_role("button", name="Preferences and sign out").click()
    await signed_in.get_by_role("button", name="Sign out", exact=True).click()
    await expect(signed_in.get_by_label("Admin token")).to_be_visible()
    await signed_in.goto("/admin")
    await expect(signed_in.get_by_label("Admin token")).to_be_visible()


async def test_signing_out_ends_every_tab_at_once(signed_in: Page) -> None:
    """Other tabs notice by their WebSocket or their next request: each goes to the form, and back."""
    cookies = await signed_in.context.cookies()
    watching = await signed_in.context.new_page()
    await watching.goto("/admin/page/signals?status=failed")
    await expect(watching.locator("#connection")).to_have_attribute("data-state", "live")
    asking = await signed_in.context.new_page()
    await asking.add_init_script("delete window.WebSocket")
    await asking.goto("/admin/page/positions")
    await signed_in.get_by_role("button", name="Preferences and sign out").click()
    await signed_in.get_by_role("button", name="Sign out", exact=True).click()
    await watching.wait_for_url("**/admin/sign-in?next=*status%3Dfailed")
    await signed_in.context.add_cookies(cast("Any", cookies))  # as with a copied cookie
    await signed_in.goto("/admin")
    await expect(signed_in.get_by_label("Admin token")).to_be_visible()
    await asking.evaluate("import('/static/page/session.js').then(({ get }) => { get('/admin/signals') })")
    await asking.wait_for_url("**/admin/sign-in?next=*positions")


async def test_pages_outside_of_views_are_accessible_too(signed_in: Page, application: Application) -> None:
    """The timeline over a list and as a page, the menu, the form, a problem."""
    signal_id = application.post(ticker="NVDA", action="buy", signal_id="Long")
    await expect(row(signed_in, signal_id)).to_contain_text("Forwarded")
    await row(signed_in, signal_id).locator(".reason").click()
    await expect(signed_in.get_by_role("dialog")).to_be_visible()
    await check_looks(signed_in)
    await signed_in.keyboard.press("Escape")
    await signed_in.get_by_role("button", name="Preferences and sign out").click()
    await check_looks(signed_in)
    await signed_in.get_by_role("button", name="Português").click()
    for path in (f"/admin/page/signals/{signal_id}", f"/admin/page/signals/{uuid4()}"):
        await signed_in.goto(path)
        await check_looks(signed_in)
    await signed_in.context.clear_cookies()
    await signed_in.goto("/admin")
    await check_looks(signed_in)


async def test_language_and_theme_are_chosen_and_remembered(signed_in: Page) -> None:
    await signed_in.goto("/admin/page/signals?status=failed")
    await signed_in.get_by_role("button", name="Preferences and sign out").click()
    await signed_in.get_by_role("button", name="Português").click()
    await expect(signed_in.get_by_role("heading", level=1)).to_have_text("Sinais")
    assert signed_in.url.endswith("/admin/page/signals?status=failed")
    await signed_in.get_by_role("button", name="Preferências e sair").click()
    await signed_in.get_by_role("button", name="Escuro").click()
    await signed_in.get_by_role("button", name="Preferências e sair").click()
    await expect(signed_in.get_by_role("button", name="Escuro")).to_have_attribute("aria-pressed", "true")
    for scheme in THEMES:  # the choice overrides the system's setting
        await signed_in.emulate_media(color_scheme=scheme)
        assert await signed_in.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    await signed_in.get_by_role("button", name="Sair", exact=True).click()
    await expect(signed_in.get_by_label("Token de administração")).to_be_visible()


async def test_the_browser_s_language_is_used_from_the_first_page(
    browser: Browser, application: Application
) -> None:
    context = await browser.new_context(base_url=application.url, locale="pt-BR")
    page = await context.new_page()
    await page.goto("/admin")
    await page.get_by_label("Token de administração").fill(ADMIN_TOKEN)
    await page.get_by_role("button", name="Entrar", exact=True).click()
    await expect(page.locator("#connection")).to_have_text("Atualizado")
    await page.evaluate("fetch('/admin/delivery/pause', { method: 'POST' })")
    alarm = page.locator("#alarms li[data-code=delivery_paused]")
    await expect(alarm).to_contain_text("As entregas estão pausadas")  # by the WebSocket
    await expect(page.locator("#fact-delivery")).to_contain_text("em pausa")
    await context.close()


async def test_the_head_shows_pauses_holds_and_alarms_at_once(signed_in: Page) -> None:
    await expect(signed_in.locator("#mode")).to_have_text(re.compile("Paper"))
    for part in ("intake", "engine", "buys", "delivery"):
        await expect(signed_in.locator(f"#fact-{part}")).to_have_attribute("data-state", "running")
        await signed_in.evaluate("(part) => fetch(`/admin/${part}/pause`, { method: 'POST' })", part)
        await expect(signed_in.locator(f"#fact-{part}")).to_have_attribute("data-state", "paused")
        await expect(signed_in.locator(f"#alarms [data-code={part}_paused]")).to_be_visible()
    await expect(signed_in.locator("#fact-top-n")).to_contain_text("frozen")
    await expect(signed_in.locator("#fact-alarms dd")).to_have_text("4")


WATCH_HEAD = """
    window.contradictions = [];
    const look = () => {
        for (const part of ["intake", "engine", "buys", "delivery"]) {
            const paused = document.querySelector(`#fact-${part}`).dataset.state === "paused";
            const alarmed = document.querySelector(`#alarms [data-code=${part}_paused]`) !== null;
            if (paused !== alarmed) contradictions.push([part, paused, alarmed]);
        }
    };
    const watch = { subtree: true, childList: true, attributes: true };
    new MutationObserver(look).observe(document.body, watch);
"""


async def test_the_head_never_contradicts_the_alarms(signed_in: Page) -> None:
    """Checked after every change of the page, over pauses and their ends."""
    await expect(signed_in.locator("#connection")).to_have_attribute("data-state", "live")
    await signed_in.evaluate(WATCH_HEAD)
    for part in ("delivery", "engine", "intake", "buys"):
        alarm = signed_in.locator(f"#alarms [data-code={part}_paused]")
        for act, count in (("pause", 1), ("resume", 0)):
            await signed_in.evaluate("(path) => fetch(path, { method: 'POST' })", f"/admin/{part}/{act}")
            await expect(alarm).to_have_count(count)
    assert await signed_in.evaluate("contradictions") == []


# Each step shows alarms and says whether the lines are still the same, by an instance of its own.
SHOW_ALARMS = """async (steps) => {
    const { showAlarms } = await import("/static/page/head.js?of-the-test");
    const list = document.querySelector("#alarms");
    const kept = [];
    for (const alarms of steps) {
        const before = [...list.children];
        showAlarms(alarms);
        const now = [...list.children];
        kept.push(before.length === now.length && before.every((line, number) => line === now[number]));
    }
    return [kept, list.outerHTML];
}"""
ALARM: dict[str, Any] = {
    "code": "sells_failed",
    "severity": "critical",
    "subject": "AAPL",
    "since": "2026-11-29T10:00:00Z",
    "settle_until": None,
    "position_id": None,
    "omitted": 0,
    "members": [],
    "text": "AAPL: exits failed: 1.",
    "action": "Close it.",
}


async def test_alarm_lines_are_rendered_again_only_if_an_alarm_changed(signed_in: Page) -> None:
    """A screen reader reads rendered elements again, and they lose the focus."""
    other = {**ALARM, "code": "disk_low", "subject": "", "severity": "warning", "text": "Little room."}
    steps = [[ALARM], [dict(ALARM)]]  # equal, not the same
    changes = [
        {"severity": "warning"},
        {"since": "2026-11-29T11:00:00Z"},
        {"settle_until": "2026-11-29T11:00:00Z"},  # of members that are not shown
        {"position_id": "0199f1b0-0000-7000-8000-000000000000"},
        {"text": "AAPL: exits failed: 2."},
        {"action": ""},
    ]
    for changed in changes:
        steps += [[{**ALARM, **changed}], [{**ALARM, **changed}], [ALARM]]
    steps += [[ALARM, other], [ALARM, other], [other, ALARM], [other], [], []]
    kept, drawn = await signed_in.evaluate(SHOW_ALARMS, steps)
    expected = [False, True, *[False, True, False] * len(changes), False, True, False, False, False, True]
    assert kept == expected
    assert "<li" not in drawn

    position = {**ALARM, "position_id": changes[3]["position_id"]}
    _, drawn = await signed_in.evaluate(SHOW_ALARMS, [[ALARM], [position]])
    assert position["position_id"] in drawn  # the button closes the position of now


async def test_the_lines_that_the_server_rendered_stay_after_the_first_message(signed_in: Page) -> None:
    await signed_in.evaluate("fetch('/admin/delivery/pause', { method: 'POST' })")
    await expect(signed_in.locator("#alarms li")).to_have_count(1)
    await signed_in.reload()
    words = "Deliveries are paused: approved signals wait, and still expire."
    paused = {**ALARM, "code": "delivery_paused", "subject": "", "text": words, "action": ""}
    kept, _ = await signed_in.evaluate(
        SHOW_ALARMS.replace("?of-the-test", "?after-the-reload"), [[paused], [{**paused, "text": "Others."}]]
    )
    assert kept == [True, False]


async def test_the_charts_have_a_drawing_and_a_text(signed_in: Page, application: Application) -> None:
    await expect(signed_in.locator("[data-blank='Nothing in this time']")).to_have_count(3)
    await add_history(application.database_url)
    await signed_in.reload()
    await expect(signed_in.locator(".plot canvas")).to_have_count(3)
    week = signed_in.get_by_role("button", name="7 days")
    await week.click()
    await expect(week).to_have_attribute("aria-pressed", "true")
    for chart in await signed_in.locator(".plot").all():
        assert re.search(r": .*\d", await chart.get_attribute("aria-label") or "")


async def test_the_description_of_the_api_needs_no_other_host(page: Page) -> None:
    await page.goto("/docs")
    operation = page.locator("#operations-admin-signals")
    await expect(operation).to_be_visible()
    await operation.get_by_role("button").first.click()
    await expect(operation.get_by_text("next_cursor").first).to_be_visible()
