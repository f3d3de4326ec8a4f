"""A known outcome is stored whatever happens to the database: no lock, error or leftover makes it unknown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.api import raising

if TYPE_CHECKING:
    from tests.api.trading.desk import Desk


@pytest.mark.parametrize("state", ["XX000", "XX002", "54000", "0A000", "F0000", "P0001"])
async def test_an_error_that_does_not_concern_the_row_delays_an_outcome(desk: Desk, state: str) -> None:
    await raising.install(desk.database)
    await raising.start(desk.database, "outcome", state)
    app = await desk.open()
    buy = await desk.send(app, "NVDA", "buy")

    async def is_refused() -> bool:
        return bool(app.context.unwritten_outcomes)

    await desk.wait(app, is_refused, lambda: "the outcome was stored at once")
    await raising.stop(desk.database, "outcome")
    row = await desk.until(app, buy)
    assert row["status"] == "forwarded", row["reason"]
    sell = await desk.send(app, "NVDA", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert len(desk.receiver.received) == 2


@pytest.mark.parametrize(
    ("state", "status"), [("XX002", 503), ("P0001", 503), ("22003", 422), ("23514", 422)]
)
async def test_a_post_that_cannot_be_stored_now_is_answered_503_and_delays_no_other(
    desk: Desk, state: str, status: int
) -> None:
    await desk.database.execute(
        f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; END
            $$;
            CREATE TRIGGER refuse BEFORE INSERT ON signals FOR EACH ROW
                WHEN (NEW.ticker = 'TSLA') EXECUTE FUNCTION refuse()"""
    )
    app = await desk.open()

    async def post(ticker: str) -> int:
        async with app.http.post("/webhook/in", json={"ticker": ticker, "side": "buy"}) as answer:
            return answer.status

    others = [f"T{number}" for number in range(8)]
    found = await asyncio.gather(post("TSLA"), *map(post, others))
    assert found == [status, *[202] * len(others)]
