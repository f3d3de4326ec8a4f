"""Imported history is shown and never traded: it prevents no reprocessing either."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.api.operator import BEARER
from tests.api.trading.test_reprocessing import approved_again, enter, rejected, watching

if TYPE_CHECKING:
    from tests.api.trading.desk import Desk


@pytest.mark.parametrize("status", ["forwarded", "rejected"])
async def test_an_imported_sell_of_long_ago_is_no_later_sell(desk: Desk, status: str) -> None:
    app = await watching(desk)
    (buy,) = await rejected(desk, app)
    row = f"{uuid4()},2026-01-05T10:00:00Z,{status},sell,NVDA,{{}}"
    content = f"id,received_at,status,type,ticker,body\n{row}\n"
    async with app.http.post("/admin/database/import", data=content, headers=BEARER) as answer:
        assert (await answer.json())["imported"] == 1
    await enter(desk, app, "NVDA")
    assert [row["id"] for row in await approved_again(desk)] == [buy]
