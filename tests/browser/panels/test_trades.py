"""Trades: results, sums of a period, pages and filters, the file; unknown is a word, not 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.browser.looks import EVERYWHERE, check_looks
from tests.browser.panels.desk import HOSTILE

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from tests.browser.panels.desk import Desk

TIMES = "\N{MULTIPLICATION SIGN}"
_HISTORY = """
    INSERT INTO positions (ticker, status, closed_by, opened_at, closed_at, quantity, average_price, realized)
    SELECT 'T' || n, 'closed', gen_random_uuid(), now() - make_interval(days => n, secs => 90),
           now() - make_interval(days => n), 1, 1234.5, CASE WHEN n % 2 = 0 THEN -1.25 ELSE 1000.5 END
    FROM generate_series(1, 60) AS n
"""


def row(desk: Desk, ticker: str) -> Locator:
    """Return the trade of a ticker."""
    return desk.page.locator("tr[id^=trade-]").filter(has_text=ticker)


async def trade(desk: Desk, ticker: str, *alerts: tuple[str, dict[str, object]]) -> None:
    """Send alerts, each after the destination got the previous one."""
    for action, fields in alerts:
        count = len(desk.receiver.received)
        desk.send(ticker, action, **fields)
        await desk.receiver.count(count + 1)


async def test_a_closed_position_has_its_result_and_links_to_its_timelines(desk: Desk) -> None:
    page = await desk.open("trades")
    await expect(page.get_by_text("No trade yet.")).to_be_visible()
    await trade(
        desk,
        "NVDA",
        ("buy", {"quantity": 10, "price": "1200.5"}),
        ("sell", {"quantity": 5, "price": 1210, "sentiment": "long"}),
        ("sell", {"quantity": 5, "price": 1190}),
    )
    nvda = row(desk, "NVDA")
    await expect(nvda).to_be_visible()  # without a reload
    for shown in (f"10 {TIMES} 1,200.5", f"5 {TIMES} 1,210", f"5 {TIMES} 1,190", "-5", "Exit"):
        await expect(nvda).to_contain_text(shown)
    await expect(page.locator("#result")).to_have_text("-5")
    await expect(page.get_by_text("by alert price, not fills")).to_be_visible()
    await nvda.get_by_role("link", name=f"5 {TIMES} 1,210").click()
    await expect(page.get_by_role("dialog")).to_contain_text("sell a part")
    await page.keyboard.press("Escape")
    await nvda.get_by_role("link", name="NVDA").click()
    await expect(page.get_by_role("dialog")).to_contain_text("open a position")


async def test_an_unknown_value_is_a_word(desk: Desk) -> None:
    await trade(desk, "NVDA", ("buy", {}), ("sell", {}))
    await desk.hold("AAPL")
    await desk.page.get_by_role("button", name="Mark closed AAPL").click()
    await desk.confirm("Mark closed", reason=HOSTILE)
    page = await desk.open("trades")
    await expect(row(desk, "NVDA").get_by_text("unknown")).to_have_count(3)  # entry, exit, result
    await expect(row(desk, "AAPL")).to_contain_text(f"Marked closed: {HOSTILE}")
    await expect(page.locator("#result")).to_have_text("unknown")
    await expect(page.locator("#unknown")).to_have_text("2")


async def test_trades_have_filters_and_pages_and_are_exported(desk: Desk) -> None:
    await desk.database.execute(_HISTORY)
    page = await desk.open("trades")
    rows = page.locator("tr[id^=trade-]")
    await expect(rows).to_have_count(50)
    await expect(page.locator("#result")).to_have_text("+29,977.5")
    await page.get_by_role("link", name="Older").click()
    await expect(rows).to_have_count(10)
    await expect(page.locator("#result")).to_have_text("+29,977.5")  # of the period, not of the page
    await page.get_by_role("link", name="Back to the newest").click()
    await expect(rows).to_have_count(50)
    await page.locator("#connection[data-state=live]").wait_for()
    days = await desk.database.fetch(
        """SELECT to_char(closed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day FROM positions
           WHERE ticker IN ('T9', 'T7') ORDER BY closed_at"""
    )
    await page.get_by_label("Closed from").fill(days[0]["day"])
    await page.get_by_label("Closed until").fill(days[1]["day"])
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(rows).to_have_count(3)
    await expect(page.get_by_label("Closed from")).to_have_value(days[0]["day"])
    await expect(page.locator("#result")).to_have_text("+1,999.75")
    file = await desk.download(page.get_by_role("link", name="Export these trades as CSV"))
    assert [(each["ticker"], each["result"], each["quantity"]) for each in file] == [
        ("T7", "1000.5", ""),
        ("T8", "-1.25", ""),
        ("T9", "1000.5", ""),
    ]
    await page.get_by_label("Ticker").fill("nasdaq:t8")
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(rows).to_have_count(1)
    await page.get_by_role("link", name="Show all").click()
    await expect(rows).to_have_count(50)


async def test_both_languages_in_both_themes_at_both_widths(desk: Desk) -> None:
    await trade(desk, "NVDA", ("buy", {"quantity": 10, "price": "1200.5"}), ("sell", {"price": 1210}))
    await trade(desk, "AAPL", ("buy", {"price": 10}), ("sell", {"price": 11}))
    await desk.database.execute(_HISTORY)
    await desk.database.execute("UPDATE signals SET source = 'the second desk' WHERE ticker = 'NVDA'")
    url = desk.application.url
    for language, title in (("en", "Trades"), ("pt-BR", "Operações")):
        await desk.page.context.add_cookies([{"name": "language", "value": language, "url": url}])
        page = await desk.open("trades")
        await expect(page.get_by_role("heading", level=1)).to_have_text(title)
        await expect(row(desk, "NVDA")).to_contain_text("+95")
        await check_looks(page, [*EVERYWHERE, (1280, "dark"), (768, "light"), (320, "dark")])
