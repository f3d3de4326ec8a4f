"""Values and their sources; refusals are shown at their fields, secrets are not changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from tests.browser.panels.desk import Desk

MASK = "***"


def said_at(form: Locator, field: str) -> Locator:
    """Return the message at a field."""
    return form.locator(f"[id$='-{field}-problem']")


async def test_values_are_changed_and_reset(desk: Desk) -> None:
    page = await desk.open("configuration")
    form = page.locator("#form-webhook")
    save = form.get_by_role("button", name="Save")
    origin = desk.receiver.url.partition("/hook")[0]
    await expect(form.get_by_role("textbox", name="Destination")).to_have_value(f"{origin}/{MASK}")
    await save.click()
    await expect(form.locator("output")).to_have_text("Nothing was changed, so nothing was sent.")
    await form.get_by_role("textbox", name="Time-out").fill("0,5")
    await form.get_by_role("textbox", name="Retry delays").fill("1 2,5 60")
    await form.get_by_label("Retry buys of unknown outcome").check()
    await form.get_by_role("textbox", name="Sells expire after").fill("7200")
    await save.click()
    await expect(form.locator("output")).to_have_text("Saved and effective.")
    timeout = form.locator(".field").filter(has=page.locator("#webhook-timeout"))
    await expect(timeout).to_contain_text("set here")
    await expect(form.get_by_role("textbox", name="Time-out")).to_have_value("0.5")
    await form.get_by_role("button", name="Back to .env or the default: Time-out").click()
    await expect(timeout).to_contain_text("default")
    await expect(form.get_by_role("textbox", name="Time-out")).to_have_value("5")
    stored = json.loads((desk.folder / "webhook_config.json").read_text())
    new = {
        "retry_seconds": [1, 2.5, 60],
        "retry_unknown": {"buy": True},
        "max_signal_age_seconds": {"sell": 7200},
    }
    assert stored == {"url": desk.receiver.url, **new}
    system = page.locator("#form-system")
    await system.get_by_label("A buy of a ticker that is held").select_option("reject")
    await system.get_by_role("button", name="Save").click()
    await expect(system.locator("output")).to_have_text("Saved and effective.")
    assert await desk.log() == [
        ("webhook.configure", "", {}, {"timeout": 0.5, **new}, "done"),
        ("webhook.configure", "", {"timeout": 0.5}, {}, "done"),
        ("system.configure", "", {}, {"duplicate_buys": "reject"}, "done"),
    ]


async def test_a_wrong_value_is_refused_at_its_field(desk: Desk) -> None:
    page = await desk.open("configuration")
    form = page.locator("#form-webhook")
    save = form.get_by_role("button", name="Save")
    limit = form.get_by_role("textbox", name="Requests a minute")
    for wrong in ("0", "1.5", "many"):
        await limit.fill(wrong)
        await save.click()
        await expect(said_at(form, "max_req_per_min")).to_have_text("Whole number from 1 to 100,000.")
        await expect(limit).to_be_focused()
    await limit.fill("30")
    await form.get_by_role("textbox", name="Destination").fill("broker.example/hook")
    await save.click()
    await expect(said_at(form, "url")).to_have_text("must be an http:// or https:// URL with a host")
    await expect(said_at(form, "max_req_per_min")).to_be_hidden()
    await expect(form.get_by_role("textbox", name="Destination")).to_be_focused()
    await expect(form.locator("output")).to_have_text("Refused: see the marked fields.")
    await expect(limit).to_have_value("30")
    await form.get_by_role("button", name="Undo typing").click()
    await expect(limit).to_have_value("60")
    await expect(said_at(form, "url")).to_be_hidden()
    (entry,) = await desk.log()
    assert entry[0] == "webhook.configure"
    assert entry[4].startswith("refused: config/webhook_config.json: url")


async def test_typed_text_is_kept_when_values_change_meanwhile(desk: Desk) -> None:
    page = await desk.open("configuration")
    form = page.locator("#form-system")
    await form.get_by_role("textbox", name="Keep signals for").fill("7")
    (desk.folder / "system_config.json").write_text('{"delivery_paused": true}')
    await expect(page.locator("#switch-delivery")).to_contain_text("paused")
    await expect(form.get_by_role("textbox", name="Keep signals for")).to_have_value("7")


async def test_intake_is_paused_after_a_typed_word(desk: Desk) -> None:
    page = await desk.open("configuration")
    await page.get_by_role("button", name="Pause intake").click()
    await desk.confirm("Pause intake", typed="pause")
    await expect(desk.notice).to_have_text("Intake is paused; posts are answered with 503.")
    with pytest.raises(HTTPError, match="503"):
        desk.send("NVDA", "buy")
    await expect(page.locator("#switch-intake")).to_contain_text("paused")
    await page.get_by_role("button", name="Resume intake").click()
    await desk.confirm("Resume intake")
    await expect(desk.notice).to_have_text("Posts are accepted again.")
    desk.send("NVDA", "buy")
    assert [entry[:4] for entry in await desk.log()] == [
        ("intake.pause", "", {}, {"intake_paused": True}),
        ("intake.resume", "", {"intake_paused": True}, {"intake_paused": False}),
    ]


async def test_buying_is_stopped_in_the_head_of_every_view(desk: Desk) -> None:
    page = await desk.open("positions")
    head = page.get_by_role("banner")
    for action, part, done in (
        ("Stop buying", "paused", "Buying is paused. Exits pass."),
        ("Resume buying", "running", "Entries are approved again."),
    ):
        for width in (320, 700, 1000, 1300, 1700):
            await page.set_viewport_size({"width": width, "height": 800})
            await expect(head.get_by_role("button", name=action)).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, width
        assert await head.get_by_role("button", name="buying").count() == 1
        await head.get_by_role("button", name=action).click()
        await desk.confirm(action)
        await expect(desk.notice).to_have_text(done)
        await expect(page.locator("#fact-buys")).to_contain_text(part)
    assert [entry[0] for entry in await desk.log()] == ["buys.pause", "buys.resume"]


async def test_risk_rules_are_set_and_a_wrong_one_is_refused_at_its_field(desk: Desk) -> None:
    page = await desk.open("configuration")
    form = page.locator("#form-system")
    save = form.get_by_role("button", name="Save")
    await form.get_by_role("textbox", name="Buy only within").fill("always")
    await save.click()
    await expect(form.locator("[id='system-risk.hours-problem']")).to_contain_text("must be hours such as")
    await form.get_by_role("textbox", name="Buy only within").fill("09:30-16:00 America/New_York")
    await form.get_by_role("textbox", name="Open positions at most").fill("3")
    await form.get_by_role("textbox", name="Never buy").fill("gme, brk.b\nSPY 250624C596")
    await save.click()
    await expect(form.locator("output")).to_have_text("Saved and effective.")
    await expect(form.get_by_role("textbox", name="Never buy")).to_have_value("gme\nbrk.b\nSPY 250624C596")
    rules = {
        "hours": "09:30-16:00 America/New_York",
        "max_open_positions": 3,
        "blocklist": ["gme", "brk.b", "SPY 250624C596"],
    }
    assert json.loads((desk.folder / "system_config.json").read_text()) == {"risk": rules}
    await form.get_by_role("textbox", name="Open positions at most").fill("")
    await save.click()
    await expect(form.locator("output")).to_have_text("Saved and effective.")
    del rules["max_open_positions"]
    assert json.loads((desk.folder / "system_config.json").read_text()) == {"risk": rules}


async def test_a_broken_file_is_not_overwritten(desk: Desk) -> None:
    page = await desk.open("configuration")
    (desk.folder / "webhook_config.json").write_text("{")
    form = page.locator("#form-webhook")
    await expect(page.locator("#view .problem")).to_contain_text("The last valid values stay current")
    await form.get_by_role("textbox", name="Time-out").fill("7")
    await form.get_by_role("button", name="Save").click()
    await expect(form.locator("output")).to_contain_text(
        "Correct it on the host first: config/webhook_config.json"
    )
    assert (desk.folder / "webhook_config.json").read_text() == "{"


async def test_in_portuguese_the_word_to_type_is_portuguese(desk: Desk) -> None:
    await desk.page.context.add_cookies([{"name": "language", "value": "pt-BR", "url": desk.application.url}])
    page = await desk.open("configuration")
    await page.get_by_role("button", name="Pausar o recebimento").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Digite “pausar” para continuar").fill("pausar")
    await dialog.get_by_role("button", name="Pausar o recebimento").click()
    await expect(desk.notice).to_have_text("O recebimento está pausado; os alertas recebem 503.")


async def test_in_portuguese_a_refusal_is_portuguese(desk: Desk) -> None:
    await desk.page.context.add_cookies([{"name": "language", "value": "pt-BR", "url": desk.application.url}])
    page = await desk.open("configuration")
    form = page.locator("#form-webhook")
    await form.get_by_role("textbox", name="Destino").fill("broker.example/hook")
    await form.get_by_role("button", name="Salvar").click()
    told = "deve ser uma URL http:// ou https:// com um servidor"
    await expect(said_at(form, "url")).to_have_text(told)
    await expect(form.locator("output")).to_have_text("Recusado: veja os campos marcados.")
    await desk.open("actions")
    await expect(page.locator(".actions-log")).to_contain_text(
        f"recusado config/webhook_config.json: url: {told}"
    )
