"""Positions and orders: sold, marked closed, all sold at once; confirmed first, done once, with a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from playwright.async_api import expect

from tests.browser.panels.desk import HOSTILE

if TYPE_CHECKING:
    from tests.api.trading.receiver import Received
    from tests.browser.panels.desk import Desk


def sold(received: list[Received]) -> list[Any]:
    """Return the tickers of the received sells."""
    return [each.alert["ticker"] for each in received if each.alert["action"] == "exit"]


async def test_a_position_is_closed_by_an_order_after_a_confirmation(desk: Desk) -> None:
    await desk.hold("NVDA", "AAPL")
    close = desk.page.get_by_role("button", name="Close NVDA")
    await close.click()
    await desk.page.get_by_role("button", name="Cancel").click()
    await expect(close).to_be_focused()
    await close.click()
    await desk.page.keyboard.press("Escape")
    await expect(close).to_be_focused()
    assert await desk.log() == []
    await close.click()
    await desk.confirm("Close")
    await expect(desk.notice).to_have_text("The sell of NVDA is pending.")
    assert sold(await desk.receiver.count(3)) == ["NVDA"]
    await desk.page.get_by_role("heading", level=1).hover()  # no row moves under the pointer
    await expect(desk.position("NVDA")).to_have_count(0)
    await expect(desk.position("AAPL")).to_be_visible()
    ((action, _, before, after, result),) = await desk.log()
    assert (action, before, after["queued"], result) == ("order.close-position", None, 1, "done")
    story = await desk.database.fetchrow(
        "SELECT type, status FROM signals WHERE id = $1", UUID(after["orders"]["NVDA"])
    )
    assert dict(story or {}) == {"type": "position_close", "status": "forwarded"}


async def test_a_position_closed_elsewhere_is_marked_and_nothing_is_sent(desk: Desk) -> None:
    await desk.hold("NVDA")
    row = await desk.database.fetchrow("SELECT id FROM positions")
    assert row is not None
    mark = desk.page.get_by_role("button", name="Mark closed NVDA")
    await mark.click()
    await desk.confirm("Mark closed", reason=HOSTILE)
    await expect(desk.notice).to_have_text("The position of NVDA is marked closed; nothing was sent.")
    await expect(desk.page.get_by_text("No position is open.")).to_be_visible()
    assert len(desk.receiver.received) == 1
    reason = f"marked closed: {HOSTILE}"
    assert await desk.log() == [
        (
            "order.mark-closed",
            str(row["id"]),
            {"status": "open", "ticker": "NVDA", "buys": 1},
            {"status": "closed", "reason": reason},
            "done",
        )
    ]
    await desk.open("actions")
    await expect(desk.page.locator(".changes ins").filter(has_text="marked closed")).to_contain_text(reason)


async def test_a_position_that_another_person_closed_is_refused_with_a_message(desk: Desk) -> None:
    await desk.hold("NVDA")
    await desk.page.get_by_role("button", name="Close NVDA").click()
    await desk.database.execute("UPDATE positions SET status = 'closed', closed_at = now()")
    await desk.confirm("Close")
    await expect(desk.notice).to_have_text("Refused: the position in NVDA is closed already")
    await expect(desk.notice).to_have_attribute("data-tone", "bad")


async def test_all_are_sold_once_after_a_typed_word(desk: Desk) -> None:
    await desk.hold("NVDA", "AAPL")
    page = await desk.open("dead-letters")
    await page.get_by_role("button", name="Pause deliveries").click()
    await desk.confirm("Pause deliveries")
    await expect(page.locator("#destination")).to_contain_text("deliveries paused")
    await desk.open("positions")
    await page.get_by_role("button", name="Sell all").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("each of the 2 open positions")
    await dialog.get_by_label("Type").fill("sell")
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_visible()  # half the word does not confirm
    await desk.confirm("Sell all", typed=" SELL ALL")
    await expect(desk.notice).to_have_text("Pending sells: 2.")
    for ticker in ("NVDA", "AAPL"):
        await expect(desk.position(ticker).get_by_text("Sell", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Sell all").click()
    await desk.confirm("Sell all", typed="sell all")
    await expect(desk.notice).to_contain_text("Nothing new was ordered")
    await page.get_by_role("button", name="Close NVDA").click()
    await desk.confirm("Close")
    await expect(desk.notice).to_contain_text("a sell of NVDA is pending already")
    await page.get_by_label("Sell a ticker").fill("nvda")
    await page.get_by_role("button", name="Sell", exact=True).click()
    await desk.confirm("Sell")
    await expect(page.locator("form:not(#adopt form) > output")).to_contain_text(
        "Nothing new was ordered: a sell of yours"
    )
    assert len(desk.receiver.received) == 2
    await desk.open("configuration")
    await page.get_by_role("button", name="Resume deliveries").click()
    await desk.confirm("Resume deliveries")
    assert sorted(sold(await desk.receiver.count(4))) == ["AAPL", "NVDA"]
    entries = await desk.log()
    assert [entry[0] for entry in entries] == [
        "delivery.pause",
        "order.sell-all",
        "order.sell-all",
        "order.close-position",
        "order.sell-individual",
        "delivery.resume",
    ]
    assert [entry[3]["queued"] for entry in entries[1:5]] == [2, 0, 0, 0]
    assert (entries[-1][2], entries[-1][3]) == ({"delivery_paused": True}, {"delivery_paused": False})


async def test_any_ticker_is_sold(desk: Desk) -> None:
    page = await desk.open("positions")
    field = page.get_by_label("Sell a ticker")
    await field.fill("  ")
    await page.keyboard.press("Enter")
    await expect(page.locator("#sell-ticker-problem")).to_contain_text("1 to 40")
    await expect(field).to_be_focused()
    await expect(field).to_have_attribute("aria-invalid", "true")
    await field.fill(" brk.b ")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_contain_text("A sell of BRK.B is sent")
    await desk.confirm("Sell")
    await expect(page.locator("form:not(#adopt form) > output")).to_have_text("The sell of BRK.B is pending.")
    assert sold(await desk.receiver.count(1)) == ["BRK.B"]
    assert [entry[:2] for entry in await desk.log()] == [("order.sell-individual", "BRK.B")]


async def test_orders_have_filters_and_pages(desk: Desk) -> None:
    await desk.database.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body, attempts)
           SELECT gen_random_uuid(), CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'forwarded' END, 'buy',
                  'T' || n, now(), '{}', 1
           FROM generate_series(1, 30) AS n"""
    )
    page = await desk.open("positions")
    rows = page.locator("tr[id^=order-]")
    await expect(rows).to_have_count(25)
    await page.get_by_role("link", name="Older").click()
    await expect(rows).to_have_count(5)
    await page.get_by_role("link", name="Back to the newest").click()
    await expect(rows).to_have_count(25)
    await page.locator("#connection[data-state=live]").wait_for()  # its scripts are there
    async with page.expect_navigation():  # a choice is applied at once
        await page.get_by_label("State").select_option("failed")
    await expect(rows).to_have_count(3)
    await page.locator("#connection[data-state=live]").wait_for()
    await page.get_by_role("link", name="T20").click()
    await expect(page.get_by_role("dialog")).to_contain_text("T20")
    await expect(page.locator("#stats-buy .number").first).to_have_text("30")


@pytest.mark.parametrize("language", ["en", "pt-BR"])
async def test_a_card_has_state_and_buttons_in_one_line(desk: Desk, language: str) -> None:
    await desk.database.execute("INSERT INTO positions (ticker, buys, confirmed) VALUES ('NVDA', 0, false)")
    await desk.page.context.set_extra_http_headers({"Accept-Language": language})
    await desk.page.set_viewport_size({"width": 1280, "height": 800})
    await desk.open("positions")
    row = desk.position("NVDA")
    state, confirm, dismiss = [
        await each.bounding_box()
        for each in (row.locator(".badge"), *await row.locator(".pair button").all())
    ]
    assert state
    assert confirm
    assert dismiss
    assert confirm["y"] == dismiss["y"]
    assert confirm["y"] < state["y"] + state["height"] / 2 < confirm["y"] + confirm["height"]
    label = "Pending" if language == "en" else "Pendente"
    pending = row.locator(f"[data-label={label}]")
    cell, dash = await pending.bounding_box(), await pending.locator(".quiet").bounding_box()
    assert cell
    assert dash
    assert dash["y"] - cell["y"] < dash["height"] / 2


async def test_a_position_of_the_broker_is_recorded_and_its_exit_is_sent(desk: Desk) -> None:
    page = await desk.open("positions")
    form = page.locator("#adopt form")
    await page.get_by_text("Record a position that is open at the broker").click()
    await form.get_by_label("Ticker").fill(" nyse:brk.b ")
    await form.get_by_label("Quantity").fill("-1")
    await form.get_by_role("button", name="Record").click()
    await expect(page.locator("#adopt-quantity-problem")).to_contain_text("Number above 0")
    await form.get_by_label("Quantity").fill("1,000")  # not 1
    await form.get_by_role("button", name="Record").click()
    await expect(page.locator("#adopt-quantity-problem")).to_contain_text("without a separator of thousands")
    await form.get_by_label("Quantity").fill("10")
    await form.get_by_label("Average price").fill("0,12345678901234567")  # more digits than JavaScript's
    await form.get_by_role("button", name="Record").click()
    await expect(form.locator("output")).to_have_text("The position in BRK-B is recorded. Nothing was sent.")
    await expect(desk.position("BRK-B")).to_contain_text("0.12345679")
    assert await desk.database.fetchval("SELECT average_price::text FROM positions") == "0.12345678901234567"
    await expect(desk.position("BRK-B").get_by_text("May be open", exact=True)).to_be_visible()
    await expect(form.get_by_label("Ticker")).to_have_value("")
    assert desk.receiver.received == []
    await form.get_by_label("Ticker").fill("BRK/B")
    await form.get_by_role("button", name="Record").click()
    await expect(form.locator("output")).to_contain_text("a position in BRK-B is open already")
    desk.send("BRK.B", "sell")
    assert sold(await desk.receiver.count(1)) == ["BRK.B"]
    await expect(desk.position("BRK-B")).to_have_count(0)
    results = [(action, result) for action, *_, result in await desk.log()]
    assert results[0] == ("position.adopt", "done")
    assert results[1][1].startswith("refused: a position in BRK-B is open already")


async def test_a_position_that_may_be_open_is_confirmed_or_dismissed(desk: Desk) -> None:
    await desk.hold("NVDA", "AAPL")
    await desk.database.execute("UPDATE positions SET confirmed = false, buys = 0")
    await desk.page.reload()
    await expect(desk.page.get_by_text("May be open", exact=True)).to_have_count(2)
    await desk.page.get_by_role("button", name="Confirm NVDA").click()
    await desk.confirm("Confirm")
    await expect(desk.notice).to_have_text("The position in NVDA is confirmed.")
    await expect(desk.position("NVDA").get_by_text("May be open", exact=True)).to_have_count(0)
    await desk.page.get_by_role("button", name="Dismiss AAPL").click()
    await desk.confirm("Dismiss")
    await expect(desk.notice).to_have_text("The position in AAPL is dismissed; nothing was sent.")
    await expect(desk.position("AAPL")).to_have_count(0)
    await expect(desk.position("NVDA")).to_be_visible()
    assert [action for action, *_ in await desk.log()] == ["position.confirm", "position.dismiss"]
    assert len(desk.receiver.received) == 2
