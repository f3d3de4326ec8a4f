"""Decisions on a real database, in order, with their reasons."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.api.trading.receiver import Received, always, take

if TYPE_CHECKING:
    from aiohttp import web

    from tests.api.trading.desk import Desk


async def test_a_buy_in_the_list_goes_out_and_one_outside_is_rejected_with_its_reason(desk: Desk) -> None:
    app = await desk.open()
    inside, outside = await desk.send(app, "nvda", "buy"), await desk.send(app, "ZZZ", "buy")
    assert (await desk.until(app, outside))["reason"] == "not in the Top-3"
    assert (await desk.until(app, inside))["status"] == "forwarded"
    assert await desk.story(inside) == ["received", "approved", "forwarding", "forwarded"]
    assert await desk.story(outside) == ["received", "rejected"]
    approved = await desk.database.fetchval(
        "SELECT detail ->> 'rank' FROM signal_events WHERE signal_id = $1 AND status = 'approved'", inside
    )
    assert approved == "2"


async def test_a_sell_without_a_position_is_rejected(desk: Desk) -> None:
    app = await desk.open()
    sell = await desk.until(app, await desk.send(app, "AAPL", "sell"))
    assert (sell["status"], sell["reason"]) == ("rejected", "no position is open and no buy is pending")
    assert desk.receiver.received == []


async def test_a_sell_is_approved_while_its_buy_is_pending_and_leaves_after_it(desk: Desk) -> None:
    answer_now = asyncio.Event()

    async def later(received: Received) -> web.StreamResponse:
        await answer_now.wait()
        return await take(received)

    desk.receiver.answer = later
    app = await desk.open(forwarding_workers=4)
    buy = await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(1)
    sell = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, sell, "approved"))["reason"] == "its buy is pending"
    await desk.receiver.count(1)
    assert [received.alert["side"] for received in desk.receiver.received] == ["buy"]
    answer_now.set()
    await desk.until(app, sell, "forwarded")
    assert [received.webhook_id for received in desk.receiver.received] == [str(buy), str(sell)]
    assert await desk.open_positions() == {}


async def test_sells_after_a_refused_buy_are_rejected(desk: Desk) -> None:
    desk.receiver.answer = always(400)
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(1)
    sells = [await desk.send(app, "AAPL", "sell") for _ in range(3)]
    assert (await desk.until(app, buy))["status"] == "failed"
    for sell in sells:
        row = await desk.until(app, sell)
        assert row["status"] == "rejected"
        assert row["reason"] in {
            "its buy was not delivered, and no other position is open",
            "no position is open and no buy is pending",  # decided after the buy had failed
        }
    assert [received.webhook_id for received in desk.receiver.received] == [str(buy)]


async def test_a_second_sell_finds_the_position_closed_and_is_not_sent(desk: Desk) -> None:
    hold = asyncio.Event()

    async def later(received: Received) -> web.StreamResponse:
        await hold.wait()
        return await take(received)

    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"))
    desk.receiver.answer = later
    first, second = await desk.send(app, "AAPL", "sell"), await desk.send(app, "AAPL", "exit")
    await desk.until(app, second, "approved")
    hold.set()
    assert (await desk.until(app, first))["status"] == "forwarded"
    row = await desk.until(app, second)
    assert (row["status"], row["reason"]) == ("rejected", "the position was already closed")
    assert len(desk.receiver.received) == 2


async def test_without_a_list_buys_wait_and_sells_go_on(desk: Desk) -> None:
    desk.watch("file:top.csv", refresh_interval_sec=1)
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    app = await desk.open()
    overtaken, waiting = await desk.send(app, "AAPL", "buy"), await desk.send(app, "NVDA", "buy")
    sell = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert (await desk.signal(overtaken))["reason"] == "overtaken by an exit"
    assert (await desk.signal(waiting))["status"] == "received"
    (desk.folder / "top.csv").write_text("Ticker\nNVDA\n")
    assert (await desk.until(app, waiting))["status"] == "forwarded"
    assert [received.webhook_id for received in desk.receiver.received] == [str(sell), str(waiting)]


async def test_duplicate_buys_are_rejected_where_configured(desk: Desk) -> None:
    desk.configure("system", duplicate_buys="reject")
    app = await desk.open()
    first, second = await desk.send(app, "AAPL", "buy"), await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, first))["status"] == "forwarded"
    assert "duplicate buys are rejected" in (await desk.until(app, second))["reason"]


async def test_signals_expire_in_every_queue(desk: Desk) -> None:
    desk.configure("system", delivery_paused=True)
    desk.watch("file:missing.csv")
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    app = await desk.open()
    undecided = await desk.send(app, "AAPL", "buy")
    unsent = await desk.send(app, "NVDA", "sell")
    await desk.until(app, unsent, "approved")
    await desk.database.execute("UPDATE signals SET expires_at = now()")
    assert (await desk.until(app, undecided))["reason"] == "expired before the decision"
    assert (await desk.until(app, unsent))["reason"] == "expired before delivery"
    assert await desk.story(unsent) == ["received", "approved", "expired"]
    assert await desk.open_positions() == {"NVDA": 1}


async def test_sells_after_an_expired_buy_are_rejected(desk: Desk) -> None:
    desk.configure("system", delivery_paused=True)
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    sell = await desk.send(app, "AAPL", "sell", quantity=1, sentiment="long")
    await desk.until(app, sell, "approved")
    await desk.database.execute("UPDATE signals SET expires_at = now() WHERE id = $1", buy)
    assert (await desk.until(app, buy))["status"] == "expired"
    row = await desk.until(app, sell)
    assert row["reason"] == "its buy was not delivered, and no other position is open"


async def test_two_applications_decide_each_signal_once_and_in_order(desk: Desk) -> None:
    apps = [await desk.open(), await desk.open()]
    tickers = ("AAPL", "NVDA", "TSLA", "ZZZ")
    await asyncio.gather(
        *(
            desk.send(apps[number % 2], tickers[number % 4], "buy" if number % 8 < 4 else "sell", n=number)
            for number in range(120)
        )
    )
    await desk.settled(apps[0])
    decisions = await desk.database.fetch(
        """SELECT ticker, array_agg(seq ORDER BY decided) AS seqs
           FROM (SELECT s.ticker, s.seq, min(e.id) AS decided
                 FROM signal_events e JOIN signals s ON s.id = e.signal_id
                 WHERE e.status IN ('approved', 'rejected') GROUP BY s.id) AS decisions
           GROUP BY ticker"""
    )
    assert sum(len(row["seqs"]) for row in decisions) == 120
    for row in decisions:
        assert row["seqs"] == sorted(set(row["seqs"]))
    twice = "SELECT signal_id FROM signal_events WHERE status = 'approved' GROUP BY 1 HAVING count(*) > 1"
    assert await desk.database.fetch(twice) == []
