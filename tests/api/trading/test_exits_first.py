"""No exit waits for an entry that has not left, and none is lost by overtaking one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from aiohttp import web

from tests.api.trading.receiver import in_turn
from tests.api.trading.test_exit_reserve import LISTED
from tests.api.trading.test_intents import BUY_TEN, attach
from tests.broker import Account, Broker

if TYPE_CHECKING:
    from aiohttp.web import Response, StreamResponse

    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received

PART = {"action": "sell", "quantity": 4, "sentiment": "long"}
WHOLE = {"action": "sell"}


async def test_a_part_waits_for_the_decision_on_its_buy(desk: Desk) -> None:
    broker = Broker(Account())
    attach(desk, broker)
    desk.watch("file:top.csv", refresh_interval_sec=1)
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "", **BUY_TEN)
    part = await desk.send(app, "AAPL", "", **PART)
    await asyncio.sleep(1)
    (desk.folder / "top.csv").write_text("AAPL\n")
    await desk.until(app, buy)
    await desk.until(app, part)
    assert broker.held("AAPL") == 6


@pytest.mark.parametrize("alert", [PART, WHOLE], ids=["part", "whole"])
async def test_an_exit_passes_an_entry_that_waits_for_tokens(desk: Desk, alert: dict[str, Any]) -> None:
    desk.configure("webhook", rate_limiting_enabled=True, max_req_per_min=5, exit_reserve={"per_min": 2})
    desk.watch("list:" + ",".join(LISTED))
    app = await desk.open(dest_webhook_rate_limiting_enabled=True)
    await desk.until(app, await desk.send(app, "T5", "buy", quantity=10))
    for ticker in LISTED[:2]:
        await desk.until(app, await desk.send(app, ticker, "buy"))
    add = await desk.send(app, "T5", "add", quantity=5)
    await desk.until(app, add, "approved")
    await desk.until(app, await desk.send(app, "T5", "", **alert))
    assert (await desk.signal(add))["status"] != "forwarded"


@pytest.mark.parametrize("sentiment", [None, "flat"])
async def test_an_exit_overtakes_more_entries_than_a_decision_reads(
    desk: Desk, sentiment: str | None
) -> None:
    desk.configure("system", delivery_paused=True)
    app = await desk.open()
    buys = [await desk.send(app, "AAPL", "buy", quantity=number + 1) for number in range(20)]
    other = await desk.send(app, "NVDA", "buy")
    for buy in (*buys, other):
        await desk.until(app, buy, "approved")
    alert = {"action": "sell"} if sentiment is None else {"action": "sell", "sentiment": sentiment}
    sell = await desk.send(app, "AAPL", "", **alert)
    await desk.until(app, sell, "approved")
    assert (await desk.signal(sell))["intent"] == "close"
    later = await desk.send(app, "AAPL", "buy", quantity=99)
    await desk.until(app, later, "approved")
    rows = [await desk.signal(buy) for buy in buys]
    assert {(row["status"], row["reason_code"]) for row in rows} == {("rejected", "overtaken")}
    assert (await desk.signal(other))["status"] == "approved"
    remarks = await desk.database.fetchval(
        "SELECT detail -> 'remark_codes' FROM signal_events WHERE signal_id = $1 AND status = 'approved'",
        later,
    )
    assert remarks is None  # a new position, no buy of one that is open


async def test_a_part_of_more_entries_than_a_decision_reads_stays_a_part(desk: Desk) -> None:
    desk.configure("system", delivery_paused=True)
    app = await desk.open()
    for number in range(20):
        await desk.until(app, await desk.send(app, "AAPL", "buy", quantity=number + 1), "approved")
    part = await desk.send(app, "AAPL", "sell", quantity=4)
    await desk.until(app, part, "approved")
    assert (await desk.signal(part))["intent"] == "reduce"


async def test_a_part_passes_an_add_that_waits_for_its_next_attempt(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[3600])
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "", **BUY_TEN))
    desk.receiver.answer = in_turn(503)
    add = await desk.send(app, "AAPL", "", action="add", quantity=5)
    await desk.wait(app, lambda: desk.has_ended_attempt(add), lambda: "no attempt of the add")
    await desk.until(app, await desk.send(app, "AAPL", "", **PART))
    assert (await desk.signal(add))["status"] == "approved"


@pytest.mark.parametrize(("entry", "held"), [("buy", 2), ("add", 7)])  # the broker ignores a second buy
async def test_an_exit_that_passes_an_entry_is_the_only_open_attempt_of_its_ticker(
    desk: Desk, entry: str, held: int
) -> None:
    broker, under_way, most = Broker(Account()), 0, 0
    attach(desk, broker)
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "", **BUY_TEN))
    acting = desk.receiver.answer

    async def slowly(received: Received) -> StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.3)
        under_way -= 1
        return await acting(received)

    desk.receiver.answer = slowly
    await desk.order(app, "delivery/pause")
    later = await desk.send(app, "AAPL", "", action=entry, quantity=5)
    await desk.until(app, later, "approved")
    parts = [await desk.send(app, "AAPL", "", **PART) for _ in range(2)]
    for part in parts:
        await desk.until(app, part, "approved")
    await desk.order(app, "delivery/resume")
    await desk.settled(app)
    sent = [received.alert["action"] for received in desk.receiver.received[1:]]
    assert (most, sent[:2], len(sent)) == (1, ["exit", "exit"], 3)
    assert broker.held("AAPL") == held


async def test_sell_all_includes_a_buy_that_is_claimed_at_that_moment(desk: Desk, database_url: str) -> None:
    desk.configure("system", delivery_paused=True)
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "approved")
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM signals WHERE id = $1 FOR UPDATE", buy)
            selling = asyncio.create_task(desk.order(app, "order/sell-all", 202))
            await asyncio.sleep(1)
            await other.execute(
                "UPDATE signals SET status = 'forwarding', attempts = 1, claim_id = gen_random_uuid(),"
                " lease_until = now() + interval '1 hour' WHERE id = $1",
                buy,
            )
        await selling
    finally:
        await other.close()
    placed = await desk.database.fetchval("SELECT count(*) FROM signals WHERE type = 'sell_all'")
    assert placed == 1


async def test_the_outcome_of_a_deleted_signal_is_written_once(desk: Desk) -> None:
    may_answer = asyncio.Event()

    async def answer(_: object) -> Response:
        await may_answer.wait()
        return web.Response(status=200)

    desk.receiver.answer = answer
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "forwarding")
    await desk.database.execute("DELETE FROM signals WHERE id = $1", buy)
    may_answer.set()
    await asyncio.sleep(1.5)
    assert not app.context.unwritten_outcomes
    desk.receiver.answer = in_turn(200)
    await desk.until(app, await desk.send(app, "MSFT", "buy"))
