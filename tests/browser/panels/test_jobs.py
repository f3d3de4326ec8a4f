"""A trader's jobs, each from the overview in at most so many clicks; a choice in a list counts as one."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import expect

from app.orders.destination import destination_of
from tests.api.trading.receiver import always, take
from tests.browser.panels.desk import LISTED, WEBHOOK_SECRET

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

    from tests.browser.panels.desk import Desk

SOURCE = {"name": "desk", "secret": "the-secret-of-the-source-desk"}
INSERT = """
    INSERT INTO signals (id, status, type, ticker, source, received_at, status_at, expires_at, reason, body,
                         sender_signal_id)
    VALUES (gen_random_uuid(), $1, 'buy', $2, $3, $4, $4, $4, 'not in the Top-5', '{}', $5)
    RETURNING id::text
"""
HOLD = """
    INSERT INTO destinations (destination, reason, held_until, probe_at)
    SELECT $1, 'HTTP 503', CASE $2 WHEN 'held' THEN later ELSE now() END,
        CASE $2 WHEN 'circuit' THEN later END
    FROM (SELECT now() + interval '50 s' AS later) AS moment
"""


@dataclass
class Clicks:
    """Presses what it is given, and counts."""

    page: Page
    count: int = 0

    async def overview(self) -> None:
        """Begin at the overview."""
        await self.page.goto("/admin")
        await self.page.locator("#connection[data-state=live]").wait_for()
        self.count = 0

    async def press(self, control: Locator) -> None:
        """One click."""
        await control.wait_for()
        await self.page.locator("#connection[data-state=live]").wait_for()  # the scripts run
        await control.click()
        self.count += 1

    async def choose(self, label: str, option: str) -> None:
        """One choice in a list; the page of the choice loads by itself."""
        control = self.page.get_by_role("combobox", name=label)
        await control.wait_for()
        await self.page.locator("#connection[data-state=live]").wait_for()  # the scripts run
        async with self.page.expect_navigation():
            await control.select_option(option)
        self.count += 1

    async def agree(self, action: str, *, typed: str = "") -> None:
        """Press the button of the confirmation, after typing its word."""
        dialog = self.page.get_by_role("dialog", name=action)
        if typed:
            await dialog.get_by_label("Type").fill(typed)
        await self.press(dialog.get_by_role("button", name=action))


@pytest.fixture
def clicks(desk: Desk) -> Clicks:
    """A trader who has just signed in, on the overview."""
    return Clicks(desk.page)


def row(page: Page, signal_id: str) -> Locator:
    """The signal's row."""
    return page.locator(f"tr[id='signal-{signal_id}']")


async def call(desk: Desk, method: str, path: str, body: Any = None) -> None:
    """Change something over the API, as another person would."""
    answer = await desk.page.request.fetch(
        f"{desk.application.url}/admin/{path}",
        method=method,
        data=json.dumps(body or {}),
        headers={"Content-Type": "application/json", "Origin": desk.application.url},
    )
    assert answer.ok, await answer.text()


async def test_why_an_alert_was_not_forwarded_takes_two(desk: Desk, clicks: Clicks) -> None:
    rejected = desk.send("GME", "buy")
    for number in range(12):
        desk.send("NVDA", "buy", number=number)
    await clicks.overview()
    await expect(row(desk.page, rejected)).to_have_count(0)  # ten newer ones are shown
    await clicks.press(desk.page.get_by_label("Find a signal"))
    await desk.page.keyboard.type("gme")
    await desk.page.keyboard.press("Enter")
    await clicks.press(row(desk.page, rejected).locator(".status"))
    await expect(desk.page.locator("#story .why")).to_have_text("not in the Top-5")
    assert clicks.count <= 2


async def why(desk: Desk, clicks: Clicks, signal_id: str, *codes: str) -> None:
    """Open the waiting signal from the overview, and read for what it waits."""
    await clicks.overview()
    await clicks.press(row(desk.page, signal_id).locator(".status"))
    assert clicks.count <= 2
    for code in codes:
        reason = desk.page.locator(f"#story [data-wait={code}]")
        await expect(reason).to_be_visible()
        await expect(reason).not_to_be_empty()


async def test_for_what_an_alert_waits_takes_two(desk: Desk, clicks: Clicks) -> None:
    """Each reason in turn; what is shown follows its cause while the timeline is open."""
    await call(desk, "POST", "delivery/pause")
    paused = desk.send("NVDA", "buy")
    behind = desk.send("NVDA", "buy", number=2)
    await why(desk, clicks, paused, "paused")
    await why(desk, clicks, behind, "paused", "behind")
    await clicks.press(desk.page.locator("#story [data-wait=behind] a"))
    await expect(desk.page.locator("#story").get_by_text(paused)).to_be_visible()
    desk.receiver.answer = always(503)
    await why(desk, clicks, paused, "paused")
    await call(desk, "POST", "delivery/resume")
    await expect(desk.page.locator("#story [data-wait=attempt]")).to_be_visible()
    desk.receiver.answer = take

    key = destination_of(desk.receiver.url).key
    for code in ("held", "circuit"):
        await desk.database.execute("DELETE FROM destinations")
        await desk.database.execute(HOLD, key, code)
        waiting = desk.send("AAPL", "buy", number=code)
        await why(desk, clicks, waiting, code)
    await desk.database.execute("DELETE FROM destinations")

    await call(desk, "PUT", "webhook/config", {"max_req_per_min": 1})
    limited = desk.send("TSLA", "buy")
    await why(desk, clicks, limited, "limit")

    strategy = {"name": "broken", "url": "file:none.csv"}
    await call(desk, "POST", "finviz/strategies", strategy)
    await call(desk, "POST", "finviz/strategies/broken/activate")
    unlisted = desk.send("AMD", "buy")
    await why(desk, clicks, unlisted, "list_failing")


async def test_the_failures_of_the_last_hour_replayed_take_four(desk: Desk, clicks: Clicks) -> None:
    desk.receiver.answer = always(400)
    for ticker in ("NVDA", "AAPL"):
        desk.send(ticker, "buy")
    await desk.receiver.count(2)
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    await desk.database.execute(INSERT, "failed", "TSLA", None, long_ago, None)
    desk.receiver.answer = take
    await clicks.overview()
    await expect(desk.page.locator("[data-metric=failed]")).to_have_text("3")
    await clicks.press(desk.page.locator("[data-metric=failed]"))
    await clicks.choose("Time", "Last hour")
    await expect(desk.page.locator("tr[id^=dead-]")).to_have_count(2)
    await clicks.press(desk.page.get_by_role("button", name="Replay all that match"))
    await clicks.agree("Replay all that match", typed="replay")
    await expect(desk.notice).to_have_text("Pending again: 2.")
    assert clicks.count <= 4
    received = await desk.receiver.count(4)
    assert sorted(each.alert["ticker"] for each in received[2:]) == ["AAPL", "NVDA"]


async def test_a_buy_that_may_be_executed_is_replayed_only_if_ticked(desk: Desk, clicks: Clicks) -> None:
    desk.receiver.answer = always(500)
    desk.send("NVDA", "buy")
    await desk.receiver.count(1)
    await clicks.overview()
    await clicks.press(desk.page.locator("[data-metric=failed]"))
    await expect(desk.page.get_by_text("may have been executed")).to_be_visible()
    await clicks.press(desk.page.get_by_role("button", name="Replay all that match"))
    await expect(desk.notice).to_contain_text("Nothing was sent")
    await desk.page.get_by_label("Also buys that may already have been executed").check()
    await clicks.press(desk.page.get_by_role("button", name="Replay all that match"))
    dialog = desk.page.get_by_role("dialog", name="Replay all that match")
    await expect(dialog).to_contain_text("buys that may already have been executed: 1.")
    await dialog.get_by_role("button", name="Cancel").click()
    await clicks.press(desk.page.get_by_role("button", name="Replay NVDA"))
    await expect(desk.page.get_by_role("dialog", name="Replay")).to_contain_text("may buy twice")


async def test_closing_a_position_takes_two(desk: Desk, clicks: Clicks) -> None:
    await desk.hold("NVDA")
    await clicks.overview()
    await clicks.press(desk.page.get_by_role("button", name="Close NVDA"))
    await clicks.agree("Close")
    assert clicks.count <= 2
    last = (await desk.receiver.count(2))[-1]
    assert (last.alert["ticker"], last.alert["action"]) == ("NVDA", "exit")


async def test_stopping_to_buy_takes_two_at_any_width(desk: Desk, clicks: Clicks) -> None:
    for width, name in ((1440, "Stop buying"), (320, "Resume buying")):
        await desk.page.set_viewport_size({"width": width, "height": 700})
        await clicks.overview()
        await clicks.press(desk.page.locator(".head-switch").get_by_role("button", name=name))
        await clicks.agree(name)
        await expect(desk.notice).not_to_be_empty()
        assert clicks.count <= 2
    assert [entry[0] for entry in await desk.log()] == ["buys.pause", "buys.resume"]


async def test_what_changed_and_by_whom_takes_one(desk: Desk, clicks: Clicks) -> None:
    await call(desk, "PUT", "system/config", {"duplicate_buys": "reject"})
    await clicks.overview()
    await clicks.press(desk.page.get_by_role("link", name="Actions log"))
    changed = desk.page.locator("tr[id^=action-]").first
    await expect(changed).to_contain_text("duplicate_buys")
    await expect(changed).to_contain_text("admin")
    assert clicks.count <= 1


async def test_yesterday_s_rejected_signals_of_a_source_as_a_file_take_four(
    desk: Desk, clicks: Clicks
) -> None:
    await call(desk, "POST", "sources", SOURCE)
    zone = await desk.page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    midnight = datetime.now(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    found = ("rejected", "GME", "desk", midnight - timedelta(minutes=1), "yes")
    others = (
        ("rejected", "GME", "desk", midnight + timedelta(minutes=1), "today"),
        ("rejected", "GME", "desk", midnight - timedelta(hours=25), "the day before"),
        ("rejected", "GME", None, midnight - timedelta(hours=1), "of another source"),
        ("forwarded", "GME", "desk", midnight - timedelta(hours=1), "forwarded"),
    )
    for values in (found, *others):
        await desk.database.execute(INSERT, *values)
    await clicks.overview()
    await clicks.press(desk.page.locator("[data-metric=rejected]"))
    await clicks.choose("Time", "Yesterday")
    await clicks.choose("Source", "desk")
    clicks.count += 1
    rows = await desk.download(desk.page.get_by_role("link", name="Export these as CSV"))
    assert [each["sender_signal_id"] for each in rows] == ["yes"]
    assert clicks.count <= 4


async def test_finding_a_signal_takes_one_and_typing(desk: Desk, clicks: Clicks) -> None:
    at = datetime.now(UTC) - timedelta(days=2)
    wanted = await desk.database.fetchval(INSERT, "rejected", "PLTR", None, at, "order-of-the-sender-17")
    for number in range(60):  # more than a page of newer ones
        await desk.database.execute(INSERT, "rejected", "GME", None, at, f"other-{number}")
    for typed in (wanted, wanted[:13], "order-of-the-sender-17", "pl"):
        await clicks.overview()
        await clicks.press(desk.page.get_by_label("Find a signal"))
        await desk.page.keyboard.type(typed)
        await desk.page.keyboard.press("Enter")
        await expect(desk.page.locator("tbody tr")).to_have_count(1)
        await expect(row(desk.page, wanted)).to_be_visible()
        assert clicks.count <= 1
    await desk.page.goto("/admin")
    await desk.page.keyboard.press("/")
    await expect(desk.page.get_by_label("Find a signal")).to_be_focused()


async def test_a_link_for_a_colleague_takes_two(desk: Desk, clicks: Clicks) -> None:
    signal_id = desk.send("GME", "buy")
    await desk.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await clicks.overview()
    await clicks.press(row(desk.page, signal_id).locator(".status"))
    await clicks.press(desk.page.get_by_role("button", name="Copy link"))
    await expect(desk.notice).to_have_text("The link is copied.")
    assert clicks.count <= 2
    link = await desk.page.evaluate("navigator.clipboard.readText()")
    assert link == f"{desk.application.url}/admin/page/signals/{signal_id}"
    await clicks.press(desk.page.get_by_role("button", name="Copy as curl"))
    await expect(desk.notice).to_contain_text("The command is copied.")
    command = await desk.page.evaluate("navigator.clipboard.readText()")
    secret = {"WEBHOOK_SECRET": WEBHOOK_SECRET, "PATH": "/usr/bin:/bin"}
    posted = await asyncio.create_subprocess_shell(command, env=secret, stdout=asyncio.subprocess.PIPE)
    answer, _ = await posted.communicate()
    assert json.loads(answer)["ticker"] == "GME"
    await desk.page.goto(link)
    await expect(desk.page.get_by_role("heading", level=1)).to_have_text("GME: timeline")


async def test_from_nothing_to_the_first_delivered_signal_takes_three(desk: Desk, clicks: Clicks) -> None:
    await clicks.overview()
    first = desk.page.locator("#first-run")
    await expect(first).to_contain_text(f"{desk.application.url}/webhook/in")
    await expect(first).to_contain_text("{{strategy.order.action}}")
    await expect(first.locator("[data-check=list]")).to_have_attribute("data-done", "yes")
    assert WEBHOOK_SECRET not in await desk.page.content()
    await first.get_by_role("button", name="Show the secret").click()
    await expect(first.locator("output")).to_have_text(WEBHOOK_SECRET)
    await clicks.press(desk.page.get_by_role("button", name="Send test signal"))
    await expect(desk.page.get_by_role("dialog")).to_contain_text("the bridge may execute it")
    await clicks.agree("Send test signal")
    (received,) = await desk.receiver.count(1)
    assert received.alert["ticker"] == LISTED[0]
    await expect(desk.page.locator("tbody tr[id^=signal-]")).to_contain_text("Forwarded")
    await expect(first).to_have_count(0)
    assert clicks.count <= 3
    done = await desk.log()
    assert [entry[0] for entry in done] == ["intake.reveal_secret", "intake.test_signal"]
    assert WEBHOOK_SECRET not in str(done)


async def test_a_chart_leads_to_the_signals_of_its_hour(desk: Desk, clicks: Clicks) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    wanted = await desk.database.fetchval(INSERT, "rejected", "PLTR", None, hour, None)
    await desk.database.execute(INSERT, "rejected", "GME", None, hour - timedelta(seconds=1), None)
    await clicks.overview()
    chart = desk.page.locator("[data-chart=per-hour]")
    await expect(chart.locator(".readout")).to_contain_text("1 received")
    await clicks.press(chart.get_by_role("link", name="Show them"))
    await expect(desk.page.locator("tbody tr")).to_have_count(1)
    await expect(row(desk.page, wanted)).to_be_visible()
    await expect(desk.page.get_by_role("combobox", name="Time")).to_have_value("")
    await clicks.choose("State", "rejected")  # keeps the hour
    await desk.page.wait_for_url("**status=rejected*")
    await expect(desk.page.locator("tbody tr")).to_have_count(1)
