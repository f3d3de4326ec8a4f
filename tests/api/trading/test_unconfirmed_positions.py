"""After an order of unknown outcome its position is unconfirmed: exits pass, and a person settles it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from aiohttp import web

from app.orders import repository
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome, Status
from tests.api.operator import alarms, ask, log_of
from tests.api.trading.receiver import always, in_turn, take

if TYPE_CHECKING:
    from uuid import UUID

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received


async def open_positions(app: AppServer) -> dict[str, bool]:
    """Return the open positions, and whether each is confirmed."""
    listed = (await ask(app, "GET", "/admin/positions"))["positions"]
    return {position["ticker"]: position["confirmed"] for position in listed}


async def unknown_buy(desk: Desk, app: AppServer, *, status: int = 500) -> UUID:
    """Send a buy that fails with an unknown outcome."""
    desk.receiver.answer = in_turn(status)
    buy = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, buy))["status"] == "failed"
    return buy


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_sell_after_a_buy_of_unknown_outcome_is_sent_and_closes(desk: Desk, status: int) -> None:
    app = await desk.open()
    buy = await unknown_buy(desk, app, status=status)
    assert await open_positions(app) == {"AAPL": False}
    assert "positions_unconfirmed" in await alarms(app)
    row = await desk.database.fetchrow("SELECT opened_by, buys FROM positions")
    assert row is not None
    assert tuple(row) == (buy, 0)
    sell = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert await open_positions(app) == {}
    assert await alarms(app) == set()


async def test_a_sell_that_waits_for_its_buy_is_sent_when_the_buy_ends_unknown(desk: Desk) -> None:
    app = await desk.open(forwarding_workers=1)
    go = asyncio.Event()

    async def slow(received: Received) -> web.StreamResponse:
        if received.alert["action"] == "buy":
            await go.wait()
            return web.Response(status=504)
        return await take(received)

    desk.receiver.answer = slow
    await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(1)
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell, "approved")
    go.set()
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert await open_positions(app) == {}


async def test_a_buy_whose_sender_died_leaves_an_unconfirmed_position(desk: Desk) -> None:
    app = await desk.open()
    stuck = asyncio.Event()

    async def hang(_: Received) -> web.StreamResponse:
        stuck.set()
        await asyncio.sleep(3600)
        raise AssertionError

    desk.receiver.answer = hang
    buy = await desk.send(app, "AAPL", "buy")
    await stuck.wait()
    await desk.database.execute(
        "UPDATE signals SET lease_until = now() - interval '1 second' WHERE id = $1", buy
    )
    assert (await desk.until(app, buy, "failed"))["status"] == "failed"
    assert await open_positions(app) == {"AAPL": False}


async def test_a_later_delivered_buy_confirms(desk: Desk) -> None:
    app = await desk.open()
    await unknown_buy(desk, app)
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    assert await open_positions(app) == {"AAPL": True}
    assert await desk.open_positions() == {"AAPL": 1}


async def test_a_retried_buy_that_is_delivered_counts_once(desk: Desk) -> None:
    desk.configure("webhook", retry_unknown={"buy": True, "sell": True}, retry_seconds=[0.05])
    app = await desk.open()
    desk.receiver.answer = in_turn(500, 500)
    buy = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, buy))["status"] == "forwarded"
    assert await open_positions(app) == {"AAPL": True}
    assert await desk.open_positions() == {"AAPL": 1}


async def test_a_buy_that_is_refused_after_an_unknown_attempt_stays_unconfirmed(desk: Desk) -> None:
    desk.configure("webhook", retry_unknown={"buy": True, "sell": True}, retry_seconds=[0.05])
    app = await desk.open()
    desk.receiver.answer = in_turn(500, 400)
    assert (await desk.until(app, await desk.send(app, "AAPL", "buy")))["status"] == "failed"
    assert await open_positions(app) == {"AAPL": False}


@pytest.mark.parametrize("status", [400, 403, 404, 503])
async def test_a_buy_that_was_certainly_not_executed_opens_nothing(desk: Desk, status: int) -> None:
    desk.configure("webhook", retry_seconds=[3600])
    app = await desk.open()
    desk.receiver.answer = always(status)
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "failed", "approved")
    await desk.wait(app, lambda: desk.has_ended_attempt(buy), lambda: "the attempt is open")
    assert await open_positions(app) == {}


async def test_an_unknown_sell_leaves_its_position_unconfirmed_until_it_is_delivered(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[3600])
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = in_turn(504)
    sell = await desk.send(app, "AAPL", "sell")
    await desk.wait(app, lambda: desk.has_ended_attempt(sell), lambda: "the attempt is open")
    assert await open_positions(app) == {"AAPL": False}
    await desk.database.execute("UPDATE signals SET not_before = now() WHERE id = $1", sell)
    app.context.wakeups.notify("approved")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert await open_positions(app) == {}


async def test_a_person_confirms_or_dismisses(desk: Desk) -> None:
    app = await desk.open()
    await unknown_buy(desk, app)
    position = str(await desk.database.fetchval("SELECT id FROM positions"))
    confirmed = await desk.order(app, f"positions/{position}/confirm")
    assert (confirmed["ticker"], confirmed["confirmed"], confirmed["buys"]) == ("AAPL", True, 1)
    assert (await desk.order(app, f"positions/{position}/confirm"))["buys"] == 1
    assert "positions_unconfirmed" not in await alarms(app)
    refused = await desk.order(app, f"positions/{position}/dismiss", 409)
    assert refused["detail"] == "the position in AAPL is confirmed: mark it closed with a reason instead"
    assert await open_positions(app) == {"AAPL": True}

    await desk.database.execute("UPDATE positions SET confirmed = false")
    dismissed = await desk.order(app, f"positions/{position}/dismiss")
    assert (dismissed["ticker"], dismissed["reason"]) == ("AAPL", "dismissed: not open at the broker")
    assert await open_positions(app) == {}
    for verb in ("confirm", "dismiss"):
        await desk.order(app, f"positions/{position}/{verb}", 409)
        await desk.order(app, f"positions/{uuid4()}/{verb}", 404)
    done = [action for _, _, action, *_ in await log_of(app)]
    assert [done.count(f"position.{verb}") for verb in ("confirm", "dismiss")] == [4, 4]


async def test_sell_all_sells_what_may_be_open(desk: Desk) -> None:
    app = await desk.open()
    await unknown_buy(desk, app)
    placed = await desk.order(app, "order/sell-all", 202)
    assert [order["ticker"] for order in placed["orders"]] == ["AAPL"]
    await desk.settled(app)
    assert await open_positions(app) == {}


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_sell_that_failed_is_an_alarm_until_a_later_exit_is_delivered(
    desk: Desk, status: int
) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = always(status)
    assert (await desk.until(app, await desk.send(app, "AAPL", "sell")))["status"] == "failed"
    assert "sells_failed" in await alarms(app)
    desk.receiver.answer = take
    assert (await desk.until(app, await desk.send(app, "AAPL", "sell")))["status"] == "forwarded"
    assert await alarms(app) == set()


async def test_a_later_exit_with_a_quantity_ends_the_alarm_if_it_closes(desk: Desk) -> None:
    desk.configure("system", partial_exits="close")
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = always(404)
    await desk.until(app, await desk.send(app, "AAPL", "sell"), "failed")
    assert "sells_failed" in await alarms(app)
    desk.receiver.answer = take
    await desk.until(app, await desk.send(app, "AAPL", "sell", quantity=1), "forwarded")
    assert await desk.open_positions() == {}
    assert await alarms(app) == set()


@pytest.mark.parametrize(
    "later", [{"action": "breakeven"}, {"action": "sell", "quantity": 1, "sentiment": "long"}]
)
async def test_an_order_that_replaces_no_exit_does_not_end_its_alarm(
    desk: Desk, later: dict[str, object]
) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = always(404)
    await desk.until(app, await desk.send(app, "AAPL", "sell"), "failed")
    desk.receiver.answer = take
    await desk.until(app, await desk.send(app, "AAPL", "", **later), "forwarded")
    assert "sells_failed" in await alarms(app)
    await desk.until(app, await desk.send(app, "AAPL", "sell"), "forwarded")
    assert await alarms(app) == set()


async def test_an_adjustment_of_unknown_outcome_leaves_the_position_as_it_is(desk: Desk) -> None:
    app = await desk.open()
    desk.configure("webhook", retry_seconds=[0.05])
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = in_turn(502)
    await desk.until(app, await desk.send(app, "AAPL", "", action="cancel"), "forwarded")
    assert await open_positions(app) == {"AAPL": True}


async def test_an_unknown_outcome_that_is_recorded_again_opens_nothing(desk: Desk) -> None:
    """A sender that recovery counted as dead continues after the exit closed what its buy may have opened."""
    app = await desk.open()
    buy = await unknown_buy(desk, app)
    await desk.until(app, await desk.send(app, "AAPL", "sell"), "forwarded")
    (attempt,) = await desk.attempts(buy)
    await repository.record_undelivered(
        app.context.pool,
        attempt=attempt["id"],
        signal=buy,
        claim_id=attempt["claim_id"],
        outcome=Outcome.UNKNOWN,
        error=None,
        status=Status.FAILED,
        reason=Reason(ReasonCode.DELIVERED),
        retry_in_seconds=None,
    )
    assert await open_positions(app) == {}


async def test_no_exit_waits_behind_an_adjustment_that_is_attempted_again(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[3600])
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = in_turn(500)
    adjustment = await desk.send(app, "AAPL", "", action="cancel")
    await desk.wait(app, lambda: desk.has_ended_attempt(adjustment), lambda: "the attempt is open")
    assert (await desk.until(app, await desk.send(app, "AAPL", "sell")))["status"] == "forwarded"
    assert await open_positions(app) == {}
