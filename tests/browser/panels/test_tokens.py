"""Named tokens on the page: made and shown once, changed, removed, and what a reader may do."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

from playwright.async_api import expect

from app.config.model import SYSTEM_FILE

if TYPE_CHECKING:
    from tests.browser.panels.desk import Desk


async def test_a_token_is_made_changed_and_removed(desk: Desk) -> None:
    page = await desk.open("sources")
    await page.get_by_text("New token").click()
    new = page.locator("#create-token")
    name, create = new.get_by_role("textbox", name="Name"), new.get_by_role("button", name="Create")
    await name.fill("admin")
    await create.click()
    await expect(new.locator("#new-token-name-problem")).to_contain_text("choose another one")
    await name.fill("ana")
    await create.click()
    said = new.locator("output")
    await expect(said).to_contain_text("Created. The token, shown this once: ")
    token = (await said.inner_text()).rpartition(" ")[2]
    row = page.locator("#token-ana")
    await expect(row).to_contain_text("may only read")
    entries = json.loads((desk.folder / SYSTEM_FILE).read_text("utf-8"))["tokens"]
    assert entries == [{"name": "ana", "sha256": sha256(token.encode()).hexdigest(), "scope": "read"}]

    await row.get_by_role("button", name="Allow changes").click()
    await desk.confirm("Allow changes")
    await expect(row).to_contain_text("may read and change")
    await row.get_by_role("button", name="Delete").click()
    await desk.confirm("Delete")
    await expect(row).to_be_hidden()
    assert [(action, target) for action, target, *_, result in await desk.log() if result == "done"] == [
        ("token.create", "ana"),
        ("token.change", "ana"),
        ("token.delete", "ana"),
    ]


async def test_a_reader_sees_the_actor_and_is_refused_with_a_message(desk: Desk) -> None:
    token = {"name": "bob", "sha256": sha256(b"token-of-bob").hexdigest(), "scope": "read"}
    (desk.folder / SYSTEM_FILE).write_text(json.dumps({"tokens": [token]}), "utf-8")
    page = await desk.open("sources")
    await expect(page.locator("#token-bob")).to_be_visible()
    await page.context.clear_cookies()
    await page.goto("/admin/page/strategies")
    await page.get_by_label("Token").fill("token-of-bob")
    await page.get_by_role("button", name="Sign in").click()
    await page.locator("#connection[data-state=live]").wait_for()
    await page.get_by_role("button", name="Pause the screener").click()
    await desk.confirm("Pause the screener")
    await expect(desk.notice).to_contain_text("the token 'bob' may only read")
    ((action, target, *_, result),) = await desk.log()
    assert (action, target) == ("token.refuse", "POST /admin/engine/pause")
    assert result == "refused: the token 'bob' may only read"
