"""Counts, export, import and clearance, through the page."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.browser.panels.desk import HOSTILE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.panels.desk import Desk


async def see_rejected(desk: Desk) -> None:
    """Wait until one signal is rejected. The overview gets a message of it; counts need a request."""
    await desk.page.goto("/admin")
    await expect(desk.page.locator("[data-metric=rejected]")).to_have_text("1")


async def test_history_is_exported_and_imported(desk: Desk, tmp_path: Path) -> None:
    desk.send("NVDA", "buy", note=HOSTILE)
    desk.send("GME", "buy")
    await desk.receiver.count(1)
    await see_rejected(desk)
    page = await desk.open("database")
    counts = page.locator("#counts")
    await expect(counts.locator("[data-count=rejected]")).to_have_text("1")
    await expect(counts.locator("[data-count=open_positions]")).to_have_text("1")
    rows = await desk.download(page.get_by_role("button", name="Export signals as CSV"))
    assert sorted(row["ticker"] for row in rows) == ["GME", "NVDA"]
    await desk.database.execute("DELETE FROM signals")
    file = tmp_path / "export.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.DictWriter(opened, list(rows[0]))
        table.writeheader()
        table.writerows([*rows, rows[0] | {"ticker": HOSTILE}])
    button = page.get_by_role("button", name="Import")
    await button.click()
    await expect(page.locator("#import-file-problem")).to_have_text("Choose the file of an export.")
    await page.get_by_label("File").set_input_files(file)
    await button.click()
    await desk.confirm("Import")
    await expect(page.locator("#import-form output")).to_contain_text("Imported: 2 (expired by it: 0).")
    await expect(page.locator("#import-form output")).to_contain_text("Bad rows: 1.")
    await expect(page.locator("#bad-rows li")).to_contain_text("Line ")
    await expect(counts.locator("[data-count=rejected]")).to_have_text("1")
    file.write_text("no export")
    await page.get_by_label("File").set_input_files(file)
    await button.click()
    await desk.confirm("Import")
    await expect(page.locator("#import-form output")).to_contain_text("Nothing was imported: the first line")
    (exported, imported, refused) = await desk.log()
    assert [exported[:2], imported[:2]] == [("database.export", ""), ("database.import", "")]
    assert (refused[0], refused[4].partition(":")[0]) == ("database.import", "refused")


async def test_a_clearance_is_refused_while_signals_are_unfinished(desk: Desk) -> None:
    page = await desk.open("dead-letters")
    await page.get_by_role("button", name="Pause deliveries").click()
    await desk.confirm("Pause deliveries")
    await expect(desk.notice).to_have_text("Deliveries are paused.")
    desk.send("NVDA", "buy")
    desk.send("GME", "buy")
    await see_rejected(desk)
    await desk.open("database")
    await page.get_by_role("button", name="Clear").click()
    await desk.confirm("Clear", typed="clear")
    output = page.locator("form:has(.danger) output")
    await expect(output).to_contain_text("Nothing was deleted: signals are still undelivered")
    await expect(output).to_contain_text("1 signals are undelivered")
    await desk.database.execute("UPDATE signals SET status = 'expired' WHERE ticker = 'NVDA'")
    await page.get_by_role("button", name="Clear").click()
    await desk.confirm("Clear", typed="clear")
    await expect(output).to_contain_text("Deleted: 2.")
    await expect(page.locator("[data-count=rejected]")).to_have_text("0")
    assert await desk.database.fetchval("SELECT count(*) FROM signals") == 0
    assert len(list((desk.folder / "data" / "exports").glob("*-clear.csv"))) == 1
    refused, done = (await desk.log())[1:]
    assert (refused[0], refused[4].partition(":")[0]) == ("database.clear", "refused")
    assert (done[0], done[3]["deleted"], done[4]) == ("database.clear", 2, "done")
