"""The list, the engine and its strategies: each field is checked in place, each change is in the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from playwright.async_api import expect

from tests.browser.panels.desk import LISTED

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from tests.browser.panels.desk import Desk

ADDRESS = "https://finviz.com/screener.ashx?v=111"


def strategy(desk: Desk, name: str) -> Locator:
    """Return a strategy's box."""
    return desk.page.get_by_role("article", name=name)


def write(desk: Desk, *strategies: dict[str, Any]) -> None:
    """Write the strategies into the file, the first one active."""
    document = {"active": strategies[0]["name"], "strategies": strategies}
    (desk.folder / "finviz_config.json").write_text(json.dumps(document), "utf-8")


async def test_list_entries_are_sold_and_the_engine_is_controlled(desk: Desk) -> None:
    page = await desk.open("strategies")
    ranked = page.locator("tr[id^=rank-]")
    await expect(ranked.locator(".ticker")).to_have_text(list(LISTED))
    await page.get_by_role("button", name="Sell TSLA").click()
    await expect(page.get_by_role("dialog")).to_contain_text("although no position of it is open")
    await desk.confirm("Sell")
    await expect(desk.notice).to_have_text("The sell of TSLA is pending.")
    assert (await desk.receiver.count(1))[0].alert["ticker"] == "TSLA"
    await page.get_by_role("button", name="Pause the screener").click()
    await desk.confirm("Pause the screener")
    engine = page.locator("#engine-state")
    await expect(engine).to_contain_text("frozen")
    await page.get_by_role("button", name="Refresh now").click()
    await expect(desk.notice).to_have_text(
        "The screener is paused. the engine is paused, so its list stays as it is: resume it first"
    )
    await page.get_by_role("button", name="Resume the screener").click()
    await desk.confirm("Resume the screener")
    await expect(engine).to_contain_text("running")
    # a double click sends one request
    await page.get_by_role("button", name="Refresh now").evaluate(
        "(button) => { button.form.requestSubmit(); button.form.requestSubmit(); }"
    )
    await expect(desk.notice).to_have_text("Refresh requested; the list shows when it is done.")
    assert [entry[:4] for entry in await desk.log()][1:] == [
        ("engine.pause", "", {}, {"engine_paused": True}),
        ("engine.manual-refresh", "test", None, None),  # refused
        ("engine.resume", "", {"engine_paused": True}, {"engine_paused": False}),
        ("engine.manual-refresh", "test", None, None),
    ]


async def test_a_new_strategy_is_checked_field_by_field(desk: Desk) -> None:
    page = await desk.open("strategies")
    await page.get_by_text("New strategy").click()
    new = page.locator("#create")
    name, source = new.get_by_role("textbox", name="Name"), new.get_by_role("textbox", name="Source")
    said, create = new.locator("#new-url-problem"), new.get_by_role("button", name="Create")
    await name.fill("mine/own")
    await create.click()
    await expect(said).to_have_text("Required.")
    await expect(source).to_be_focused()
    await source.fill("ftp://finviz.com/")
    await create.click()
    await expect(said).to_contain_text("use https://finviz.com/")
    await expect(new.locator("output")).to_have_text("Refused: see the marked fields.")
    await expect(name).to_have_value("mine/own")  # what was typed stays
    await source.fill(ADDRESS)
    await new.get_by_role("textbox", name="Size of the list").fill("500")
    await create.click()
    await expect(new.locator("output")).to_contain_text("set refresh_interval_sec to 26 or more")
    await new.get_by_role("textbox", name="Size of the list").fill("40")
    await new.get_by_label("Reprocess automatically").check()
    await create.click()
    await expect(new.locator("output")).to_contain_text("Created.")
    await expect(name).to_have_value("")
    await expect(strategy(desk, "mine/own")).to_be_visible()
    entries = await desk.log()
    assert [entry[4].partition(":")[0] for entry in entries] == ["refused", "refused", "done"]
    made = {"name": "mine/own", "url": ADDRESS, "top_n": 40, "reprocess_enabled": True}
    assert entries[-1] == ("strategy.create", "mine/own", {}, {"strategies.mine/own": made}, "done")


async def test_a_strategy_is_changed_activated_and_deleted(desk: Desk) -> None:
    first = {"name": "test", "url": "list:" + ",".join(LISTED)}
    made = {"name": "mine/own", "url": ADDRESS, "top_n": 40}
    write(desk, first, made)
    page = await desk.open("strategies")
    mine = strategy(desk, "mine/own")
    await mine.get_by_text("Edit").click()
    size = mine.get_by_role("textbox", name="Size of the list")
    save = mine.get_by_role("button", name="Save")
    await mine.get_by_role("textbox", name="Description").fill("half a thou")
    await size.fill("0")
    await save.click()
    refused = mine.locator(".error").filter(has_text="Whole number from 1 to 500.")
    await expect(refused).to_be_visible()
    # the view is rendered again meanwhile: typed text and its message stay
    write(desk, first, made, {"name": "theirs", "url": "list:GME"})
    await expect(strategy(desk, "theirs")).to_be_visible()
    await expect(refused).to_be_visible()
    await expect(mine.get_by_role("textbox", name="Description")).to_have_value("half a thou")
    await mine.get_by_role("textbox", name="Description").fill("")
    await expect(size).to_have_attribute("aria-invalid", "true")
    await size.fill("2")
    await mine.get_by_role("textbox", name="Source").fill("list:GME,AMC")
    await save.click()
    await expect(mine.locator("form output")).to_have_text("Saved and effective.")
    await expect(mine.locator(".brief")).to_contain_text("list:GME,AMC")
    await expect(size).to_have_value("2")
    await mine.get_by_role("button", name="Back to .env or the default: Size of the list").click()
    await expect(size).to_have_value("15")
    await mine.get_by_role("button", name="Activate").click()
    await desk.confirm("Activate")
    await expect(mine.get_by_text("active", exact=True)).to_be_visible()
    await expect(page.locator("#rank-GME")).to_be_visible()
    await strategy(desk, "test").get_by_role("button", name="Delete").click()
    await desk.confirm("Delete", typed="test")
    await expect(desk.notice).to_have_text("The strategy “test” is deleted.")
    await expect(strategy(desk, "test")).to_have_count(0)

    changed = {**made, "url": "list:GME,AMC", "top_n": 2}
    reset = {"name": "mine/own", "url": "list:GME,AMC"}
    key = "strategies.mine/own"
    entries = await desk.log()
    assert entries[:3] == [
        ("strategy.change", "mine/own", {key: made}, {key: changed}, "done"),
        ("strategy.change", "mine/own", {key: changed}, {key: reset}, "done"),
        ("strategy.activate", "mine/own", {"active": "test"}, {"active": "mine/own"}, "done"),
    ]
    assert entries[3][:2] == ("strategy.delete", "test")
    await desk.open("actions")
    await page.locator("#connection[data-state=live]").wait_for()
    async with page.expect_navigation():  # a choice is applied at once
        await page.get_by_label("About").select_option("strategy")
    lines = page.locator("tr[id^=action-]")
    await expect(lines).to_have_count(4)
    await expect(lines.last.locator("del").first).to_contain_text(ADDRESS)
    await expect(lines.last.locator("ins").first).to_contain_text("list:GME,AMC")


async def test_rejected_buys_are_reprocessed_after_a_count(desk: Desk) -> None:
    rejected = desk.send("GME", "buy")
    page = await desk.open("strategies")
    count = page.get_by_role("button", name="Count")
    await count.click()
    await expect(page.locator("#reprocess-form output")).to_have_text("There is nothing to approve.")
    box = strategy(desk, "test")
    await box.get_by_text("Edit").click()
    await box.get_by_role("textbox", name="Source").fill("list:GME")
    await box.get_by_role("button", name="Save").click()
    await expect(page.locator("#rank-GME")).to_be_visible()
    await page.get_by_label("Only these tickers").fill("gme, amc")
    await count.click()
    found = page.locator("#reprocess-found")
    await expect(found).to_contain_text("GME, rank 1")
    await expect(found).to_contain_text("AMC: not approved, not in a fresh list")
    assert desk.receiver.received == []
    await desk.confirm("Reprocess rejected buys")
    await expect(page.locator("#reprocess-form output")).to_have_text("Approved: 1.")
    (received,) = await desk.receiver.count(1)
    assert received.webhook_id == rejected
    assert (await desk.log())[-1] == (
        "reprocessing.trigger",
        "test",
        None,
        {"approved": {"GME": rejected}},
        "done",
    )


async def test_what_if_shows_what_another_size_would_have_approved(desk: Desk) -> None:
    write(desk, {"name": "mine", "url": f"list:{','.join(LISTED)}", "top_n": 2})
    page = await desk.open("strategies")
    await expect(page.locator("tr[id^=rank-]")).to_have_count(2)
    desk.send("TSLA", "buy")
    await desk.open("signals")
    await expect(page.get_by_text("not in the Top-2").first).to_be_visible()
    await desk.open("strategies")
    box = strategy(desk, "mine")
    await box.get_by_text("Edit").click()
    await box.get_by_role("textbox", name="Size of the list").fill("3")
    await box.get_by_role("button", name="What if").click()
    found = box.locator(".what-if")
    await expect(found.locator("output")).to_contain_text("0 → 1 approved")
    await expect(found.locator("li")).to_have_text(["TSLA: not in the Top-2 → rank 3 of 3"])
    await expect(found.get_by_role("progressbar")).to_be_hidden()
    # nothing was saved or sent
    assert desk.receiver.received == []
    assert [entry for entry in await desk.log() if entry[0].startswith("strategy")] == []
