"""Destinations on the page: added, changed and deleted; each refusal is at its field, no secret is shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from playwright.async_api import expect

from app.config.model import WEBHOOK_FILE

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from tests.browser.panels.desk import Desk

URL = "https://user:password@bridge.example/hook/secret-path?token=secret-token"
MASKED = "https://bridge.example/***"


def destination(desk: Desk, name: str) -> Locator:
    """Return a destination's box."""
    return desk.page.get_by_role("article", name=name)


def entries(desk: Desk) -> list[dict[str, Any]]:
    """Return the entries in the file."""
    found: list[dict[str, Any]] = json.loads((desk.folder / WEBHOOK_FILE).read_text("utf-8"))["destinations"]
    return found


def write(desk: Desk, *added: dict[str, Any]) -> None:
    """Write the entries into the file."""
    document = {"url": desk.receiver.url, "destinations": added}
    (desk.folder / WEBHOOK_FILE).write_text(json.dumps(document), "utf-8")


async def test_a_new_destination_is_checked_field_by_field(desk: Desk) -> None:
    page = await desk.open("destinations")
    await page.get_by_text("New destination").click()
    new = page.locator("#create")
    name, create = new.get_by_role("textbox", name="Name"), new.get_by_role("button", name="Create")
    await create.click()
    await expect(new.locator("#new-name-problem")).to_have_text("Required.")
    await name.fill("Live 1")
    await new.get_by_role("textbox", name="URL").fill("bridge.example/hook")
    await create.click()
    await desk.confirm("Create")
    await expect(new.locator("#new-url-problem")).to_contain_text("must be an http:// or https:// URL")
    await new.get_by_role("textbox", name="URL").fill(URL)
    await create.click()
    await desk.confirm("Create")
    await expect(new.locator("#new-name-problem")).to_contain_text("lower-case letters")
    await name.fill("live")
    await new.get_by_role("textbox", name="Requests a minute").fill("30")
    await new.get_by_role("textbox", name="Entries of tickers").fill("NVDA, brk.b\nSPY 250624C596\n")
    await create.click()
    await expect(page.get_by_role("dialog")).to_contain_text("From now on “live” gets an order")
    await desk.confirm("Create")
    await expect(new.locator("output")).to_contain_text("Created.")
    tickers = ["NVDA", "brk.b", "SPY 250624C596"]
    added = {"name": "live", "url": URL, "max_req_per_min": 30, "match": {"tickers": tickers}}
    assert entries(desk) == [added]
    assert (await desk.log())[-1][:2] == ("destination.create", "live")


async def test_a_destination_is_changed_and_deleted(desk: Desk) -> None:
    tickers = ["NVDA", "brk.b", "SPY 250624C596"]
    write(desk, {"name": "live", "url": URL, "max_req_per_min": 30, "match": {"tickers": tickers}})
    page = await desk.open("destinations")
    box = destination(desk, "live")
    await expect(box).to_contain_text("Live")
    await expect(box).to_contain_text("NVDA, brk.b, SPY 250624C596")
    await expect(box).to_contain_text(MASKED)
    await box.get_by_text("Edit").click()
    await expect(box.get_by_role("textbox", name="Gap between opposite orders")).to_have_value("10")
    await expect(box.get_by_role("textbox", name="Name")).to_have_count(0)
    await box.get_by_role("textbox", name="Gap between opposite orders").fill("300")
    await box.get_by_role("button", name="Save").click()
    gap = box.locator("[id$='-ticker_gap_seconds-problem']")
    await expect(gap).to_contain_text("must be less than 300 s")
    await box.get_by_role("textbox", name="Gap between opposite orders").fill("5")
    await box.get_by_role("textbox", name="Entries of tickers").fill("")
    await box.get_by_label("Retry buys of unknown outcome").check()
    await box.get_by_label("Format of orders").select_option("raw")
    await box.get_by_role("button", name="Save").click()
    await expect(box.locator("output")).to_have_text("Saved and effective.")
    await box.get_by_role("button", name="Back to .env or the default: Requests a minute").click()
    await expect(box.get_by_role("textbox", name="Requests a minute")).to_have_value("60")
    changed = {"ticker_gap_seconds": 5, "retry_unknown": {"buy": True}, "profile": "raw"}
    (entry,) = entries(desk)
    assert {key: value for key, value in entry.items() if key != "match"} == {
        "name": "live",
        "url": URL,
        **changed,
    }
    assert not (entry.get("match") or {}).get("tickers")

    await box.get_by_role("button", name="Delete live").click()
    await desk.confirm("Delete", typed="live")
    await expect(desk.notice).to_have_text("The destination “live” is deleted.")
    await expect(page.locator("#of-live")).to_have_count(0)
    assert entries(desk) == []
    log = await desk.log()
    assert [(action, target) for action, target, *_, result in log if result == "done"] == [
        ("destination.change", "live"),
        ("destination.change", "live"),
        ("destination.delete", "live"),
    ]
    assert "secret" not in json.dumps(log)
    assert "password" not in json.dumps(log)


async def test_default_has_only_what_its_entry_may_say(desk: Desk) -> None:
    page = await desk.open("destinations")
    box = destination(desk, "default")
    await expect(box.get_by_role("button", name="Delete")).to_have_count(0)
    await expect(box.get_by_role("link", name="Configuration")).to_be_visible()
    await box.get_by_text("Edit").click()
    names = await box.locator(".field [name]").evaluate_all("(fields) => fields.map((each) => each.name)")
    assert names == ["profile", "ticker_gap_seconds", "match.sources", "match.tickers"]
    await box.get_by_role("textbox", name="Entries of sources").fill("default\nA strategy of two words")
    await box.get_by_role("button", name="Save").click()
    await expect(box.locator("output")).to_have_text("Saved and effective.")
    sources = ["default", "A strategy of two words"]
    assert entries(desk) == [{"name": "default", "match": {"sources": sources}}]
    await page.reload()
    await box.get_by_text("Edit").click()
    await expect(box.get_by_role("textbox", name="Entries of sources")).to_have_value("\n".join(sources))


async def test_a_destination_in_use_stays_and_the_refusal_names_what_is_there(desk: Desk) -> None:
    write(desk, {"name": "trial"}, {"name": "live", "url": URL})
    page = await desk.open("destinations")
    await expect(destination(desk, "live")).to_be_visible()
    for ticker in ("NVDA", "AAPL"):
        await desk.database.execute(
            "INSERT INTO positions (ticker, destination, status, buys) VALUES ($1, 'trial', 'held', 1)",
            ticker,
        )
    await page.reload()
    box = destination(desk, "trial")
    await box.get_by_role("button", name="Delete trial").click()
    await desk.confirm("Delete", typed="trial")
    await expect(desk.notice).to_have_text(
        "Refused: 'trial' has open positions and cannot be removed or become paper: close AAPL, NVDA there, "
        "or mark them closed, first"
    )
    await expect(box).to_be_visible()
    await box.get_by_role("link", name="2", exact=True).click()
    await expect(page.locator("tr[id^=position-]")).to_have_count(2)
    await desk.database.execute(
        "UPDATE positions SET destination = 'default', status = 'open' WHERE ticker = 'AAPL'"
    )
    await page.reload()
    await expect(page.locator("tr[id^=position-]")).to_have_count(1)
    await page.get_by_role("link", name="Show all").click()
    await expect(page.locator("tr[id^=position-]")).to_have_count(2)


async def test_in_portuguese_the_page_and_its_refusals_are_portuguese(desk: Desk) -> None:
    write(desk, {"name": "real", "url": URL})
    await desk.page.context.add_cookies([{"name": "language", "value": "pt-BR", "url": desk.application.url}])
    page = await desk.open("destinations")
    await desk.database.execute(
        "INSERT INTO positions (ticker, destination, status, buys) VALUES ('NVDA', 'real', 'held', 1)"
    )
    await page.get_by_role("button", name="Excluir real").click()
    await page.get_by_role("dialog").get_by_role("textbox").fill("real")
    await page.get_by_role("dialog").get_by_role("button", name="Excluir").click()
    await expect(desk.notice).to_contain_text(
        "'real' tem posições abertas e não pode ser removido nem virar simulação: antes, feche NVDA nele"
    )


async def test_the_page_says_live_if_any_destination_is(desk: Desk) -> None:
    """Before a test signal, too: it goes to each of them."""
    page = await desk.open("destinations")
    (desk.folder / WEBHOOK_FILE).write_text("{}", "utf-8")
    await expect(page.locator("#mode")).to_contain_text("Paper")
    document = {"destinations": [{"name": "live", "url": desk.receiver.url}]}
    (desk.folder / WEBHOOK_FILE).write_text(json.dumps(document), "utf-8")
    await expect(page.locator("#mode")).to_contain_text("Live")  # from a live message
    await page.goto("/admin")
    await expect(page.locator("#mode")).to_contain_text("Live")  # drawn by the server
    await page.locator("#connection[data-state=live]").wait_for()
    await page.get_by_role("button", name="Send test signal").click()
    await expect(page.get_by_role("dialog")).to_contain_text("is delivered to http://127.0.0.1")
