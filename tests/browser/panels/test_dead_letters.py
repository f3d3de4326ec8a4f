"""Dead letters: counted first, replayed one by one or together, or refused with a message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.api.trading.receiver import always, take

if TYPE_CHECKING:
    from tests.browser.panels.desk import Desk


async def fail(desk: Desk, *tickers: str) -> None:
    """Let buys of these tickers be refused by the destination, and open the list of dead letters."""
    desk.receiver.answer = always(400)
    before = len(desk.receiver.received)
    for number, ticker in enumerate(tickers):
        desk.send(ticker, "buy", number=before + number)
    await desk.receiver.count(before + len(tickers))
    desk.receiver.answer = take
    await desk.open("dead-letters")
    await expect(desk.page.locator("tr[id^=dead-]")).to_have_count(len(tickers))


async def test_one_is_sent_again(desk: Desk) -> None:
    await fail(desk, "NVDA", "AAPL")
    await desk.page.get_by_role("button", name="Replay NVDA").click()
    dialog = desk.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("NVDA is sent again")
    await desk.confirm("Replay")
    await expect(desk.notice).to_have_text("NVDA is pending again.")
    last = (await desk.receiver.count(3))[-1]
    assert last.alert["ticker"] == "NVDA"
    assert last.webhook_id.endswith(".r2")
    await expect(desk.page.locator("tr[id^=dead-]")).to_have_count(1)
    signal_id = last.webhook_id.removesuffix(".r2")
    wish = {"ids": [signal_id], "confirm": 1}
    assert await desk.log() == [("dead-letters.replay", "", wish, {"replayed": 1}, "done")]


async def test_many_are_counted_and_sent_after_a_typed_word(desk: Desk) -> None:
    await fail(desk, "NVDA", "AAPL", "TSLA")
    page = desk.page
    chosen = page.locator("#chosen button")
    await expect(chosen).to_be_disabled()
    await page.get_by_label("Choose: AAPL").check()
    await page.get_by_label("Choose: TSLA").check()
    await expect(chosen).to_have_text("Replay the chosen ones (2)")
    await chosen.click()
    await expect(page.get_by_role("dialog")).to_contain_text("To be sent again: 2.")
    await desk.confirm("Replay the chosen ones (2)", typed="replay")
    await expect(desk.notice).to_have_text("Pending again: 2.")
    received = await desk.receiver.count(5)
    assert sorted(each.alert["ticker"] for each in received[3:]) == ["AAPL", "TSLA"]
    await expect(page.locator("tr[id^=dead-]")).to_have_count(1)
    await page.get_by_label("Search").fill("nvda")
    await page.get_by_role("button", name="Show", exact=True).click()
    await page.wait_for_url("**?*q=nvda")
    await page.get_by_role("button", name="Replay all that match").click()
    await desk.confirm("Replay all that match", typed="replay")
    await expect(desk.notice).to_have_text("Pending again: 1.")
    await expect(page.get_by_text("No dead letter matches the filter.")).to_be_visible()
    assert [entry[2:4] for entry in await desk.log()][1:] == [
        ({"q": "nvda", "unknown": False, "confirm": 1}, {"replayed": 1})
    ]


async def test_what_changed_since_it_was_counted_is_refused(desk: Desk) -> None:
    await fail(desk, "NVDA", "AAPL")
    await desk.page.get_by_role("button", name="Replay all that match").click()
    await desk.page.get_by_role("dialog").wait_for()
    await desk.database.execute("UPDATE signals SET status = 'forwarded' WHERE ticker = 'AAPL'")
    await desk.confirm("Replay all that match", typed="replay")
    await expect(desk.notice).to_have_text(
        "Nothing was sent: something changed meanwhile. the count has changed from 2 to 1: "
        "check it and confirm again"
    )
    assert len(desk.receiver.received) == 2
    ((action, _, before, after, result),) = await desk.log()
    assert (action, after) == ("dead-letters.replay", None)
    assert before == {"confirm": 2, "unknown": False}
    assert result == "refused: the count has changed from 2 to 1: check it and confirm again"


async def test_a_later_pending_order_refuses_the_replay(desk: Desk) -> None:
    await fail(desk, "NVDA")
    page = desk.page
    await page.get_by_role("button", name="Pause deliveries").click()
    await desk.confirm("Pause deliveries")
    await expect(desk.notice).to_have_text("Deliveries are paused.")
    desk.send("NVDA", "buy", number=7)
    await expect(page.get_by_text("a later order is pending")).to_be_visible()
    await page.get_by_role("button", name="Replay NVDA").click()
    await expect(desk.notice).to_contain_text("Nothing was sent: a later order of the ticker")
    await page.get_by_role("button", name="Resume deliveries").click()
    await desk.confirm("Resume deliveries")
    await desk.receiver.count(2)
    assert [entry[0] for entry in await desk.log()] == ["delivery.pause", "delivery.resume"]


async def test_an_open_circuit_is_shown_here(desk: Desk) -> None:
    desk.receiver.answer = always(503)
    for ticker in ("NVDA", "AAPL", "TSLA", "MSFT", "AMD"):
        desk.send(ticker, "buy")
    await desk.receiver.count(5)
    page = await desk.open("dead-letters")
    destination = page.locator("#destination")
    await expect(destination).to_contain_text("circuit open")
    await expect(destination).to_contain_text("Last failure: ")
    await expect(destination).to_contain_text(desk.receiver.url.partition("/hook")[0])
