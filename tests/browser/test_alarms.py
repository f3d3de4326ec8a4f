"""Many alarms of one kind are one line with a link to their list; few have a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest
from playwright.async_api import expect

from tests.browser.looks import DESK, PHONE, check_looks
from tests.browser.test_every_view import read_in

if TYPE_CHECKING:
    from playwright.async_api import Page

    from tests.browser.conftest import Application

MANY = 25


async def hold_unconfirmed(application: Application, first: int, last: int) -> None:
    """Record positions that may be open, as an import does."""
    connection = await asyncpg.connect(application.database_url)
    await connection.execute(
        """INSERT INTO positions (ticker, buys, confirmed)
           SELECT 'T' || to_char(n, 'FM00'), 0, false FROM generate_series($1::int, $2::int) AS n""",
        first,
        last,
    )
    await connection.close()


async def test_few_alarms_have_a_line_each(signed_in: Page, application: Application) -> None:
    await hold_unconfirmed(application, 1, 5)
    lines = signed_in.locator("#alarms > li")
    await expect(lines).to_have_count(5)
    await expect(lines.first).to_contain_text("T01: the position may be open")
    await expect(signed_in.locator("#alarms details, #alarms a")).to_have_count(0)


async def test_many_are_one_line_that_leads_to_their_list(signed_in: Page, application: Application) -> None:
    await signed_in.set_viewport_size({"width": 1280, "height": 800})
    await hold_unconfirmed(application, 1, MANY - 1)
    connection = await asyncpg.connect(application.database_url)
    await connection.execute("INSERT INTO positions (ticker, buys, confirmed) VALUES ('SURE', 1, true)")
    await connection.close()
    (line,) = [signed_in.locator("#alarms > li")]
    await expect(line).to_have_count(1)  # from a live message
    await expect(line).to_contain_text(f"{MANY - 1} tickers have positions that may be open.")
    await line.get_by_text("The newest 20").click()
    members = line.locator("li")
    await expect(members).to_have_count(20)
    await expect(members.first).to_contain_text("the position may be open")
    await hold_unconfirmed(application, MANY, MANY)
    await expect(line).to_contain_text(f"{MANY} tickers have positions that may be open.")
    await expect(members.first).to_be_visible()  # it stays unfolded

    await signed_in.reload()  # drawn by the server
    await signed_in.locator("#connection[data-state=live]").wait_for()
    await expect(line).to_have_count(1)
    await expect(members.first).to_be_hidden()
    await expect(signed_in.locator("#limits")).to_be_in_viewport()  # nothing is pushed off
    await expect(signed_in.locator("#health")).to_contain_text("1 problem")
    await line.get_by_role("link", name="Show the list").click()
    await signed_in.wait_for_url("**/admin/page/positions?confirmed=no#open")
    await expect(signed_in.locator("tr[id^=position-]")).to_have_count(MANY)
    await expect(signed_in.get_by_text(f"of {MANY + 1} open ones")).to_be_visible()


@pytest.mark.parametrize("language", ["en", "pt-BR"])
async def test_it_is_readable_and_not_wider_than_a_phone(
    signed_in: Page, application: Application, language: str
) -> None:
    await hold_unconfirmed(application, 1, MANY)
    await read_in(signed_in, language)
    await signed_in.goto("/admin")
    await signed_in.locator("#connection[data-state=live]").wait_for()
    await signed_in.locator("#alarms summary").click()
    await check_looks(signed_in, ((PHONE, "light"), (DESK, "dark")))
