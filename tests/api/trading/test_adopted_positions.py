"""A person records a position that was opened elsewhere: its exits pass and are delivered."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest_asyncio
from aiohttp import web

from app.orders.repository import write_unknown
from app.signals.book import Position
from tests.api.operator import BEARER, alarms, ask, log_of
from tests.broker import Account, Broker

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received

ADOPT = "/admin/positions/adopt"


@pytest_asyncio.fixture
async def broker(desk: Desk) -> Broker:
    """Deliver to a broker whose account has 10 BRK.B from elsewhere."""
    made = Broker(Account())
    made.receive(json.dumps({"ticker": "BRK.B", "action": "buy", "quantity": 10}).encode())

    async def answer(received: Received) -> web.StreamResponse:
        status, body = made.receive(received.body)
        return web.Response(status=status, body=body, content_type="application/json")

    desk.receiver.answer = answer
    return made


async def adopt(app: AppServer, expected: int = 201, /, **given: Any) -> Any:
    """Record a position of the destination `default`."""
    return await ask(app, "POST", ADOPT, expected, {"destination": "default", **given})


async def test_its_exits_are_delivered_and_their_gain_is_by_the_recorded_price(
    desk: Desk, broker: Broker
) -> None:
    app = await desk.open()
    unmatched = await desk.until(app, await desk.send(app, "BRK.B", "sell"))
    assert unmatched["status"] == "rejected"
    position = await adopt(app, ticker=" nyse:brk/b ", quantity=10, price="400.50")
    assert (position["ticker"], position["quantity"], position["average_price"]) == ("BRK-B", "10", "400.50")
    assert (position["confirmed"], position["buys"], position["opened_by"]) == (False, 0, None)
    assert "positions_unconfirmed" in await alarms(app)
    part = await desk.send(app, "BRK.B", "sell", quantity=4, price=401.5, sentiment="long")
    assert (await desk.until(app, part))["status"] == "forwarded"
    assert broker.held("BRK.B") == 6
    (left,) = (await ask(app, "GET", "/admin/positions"))["positions"]
    assert (left["quantity"], left["realized"]) == ("6", "4.00")
    await desk.order(app, f"positions/{position['id']}/confirm")
    rest = await desk.send(app, "BRK.B", "sell", price=402.5)
    assert (await desk.until(app, rest))["status"] == "forwarded"
    assert broker.held("BRK.B") == 0
    assert (await ask(app, "GET", "/admin/positions"))["positions"] == []
    (trade,) = (await ask(app, "GET", "/admin/trades"))["trades"]
    assert (trade["entry_price"], trade["result"], trade["opened_by"]) == ("400.50", "16.00", None)
    assert await alarms(app) == set()


async def test_nothing_but_its_ticker_has_to_be_known(desk: Desk, broker: Broker) -> None:
    app = await desk.open()
    position = await adopt(app, ticker="BRK.B")
    assert (position["quantity"], position["average_price"], position["realized"]) == (None, None, None)
    await desk.order(app, "order/sell-all", 202)
    await desk.settled(app)
    # no alert of it has come, so the order has the ticker in the stored form
    assert [body["ticker"] for body in broker.bodies[1:]] == ["BRK-B"]


async def test_a_buy_finds_it_open(desk: Desk) -> None:
    desk.configure("system", duplicate_buys="reject")
    app = await desk.open()
    await adopt(app, ticker="NVDA")
    buy = await desk.until(app, await desk.send(app, "NVDA", "buy"))
    assert (buy["status"], buy["reason_code"]) == ("rejected", "duplicate_buy")
    assert desk.receiver.received == []


async def test_one_that_is_open_already_is_refused(desk: Desk) -> None:
    app = await desk.open()
    position = await adopt(app, ticker="NVDA", quantity=3)
    said = await adopt(app, 409, ticker="NASDAQ:nvda", quantity=5)
    assert said["detail"] == (
        "a position in NVDA is open already: close it or mark it closed before you record another one"
    )
    (held,) = (await ask(app, "GET", "/admin/positions"))["positions"]
    assert held == position
    done, refused = [entry[2:] for entry in await log_of(app)]
    after = {"ticker": "NVDA", "destination": "default", "quantity": "3", "price": None}
    assert done == ("position.adopt", position["id"], None, after, "done")
    assert refused[:2] == ("position.adopt", "NVDA")
    assert refused[-1].startswith("refused: a position in NVDA is open already")


async def test_a_buy_that_is_delivered_meanwhile_leaves_the_quantity_unknown(desk: Desk) -> None:
    app = await desk.open()
    adopted: list[Any] = []

    async def answer(_: Received) -> web.StreamResponse:
        adopted.append(await adopt(app, ticker="NVDA", quantity=3))
        return web.json_response({"success": True})

    desk.receiver.answer = answer
    buy = await desk.send(app, "NVDA", "buy", quantity=2)
    assert (await desk.until(app, buy))["status"] == "forwarded"
    (held,) = (await ask(app, "GET", "/admin/positions"))["positions"]
    assert held["id"] == adopted[0]["id"]
    assert (held["quantity"], held["buys"], held["confirmed"]) == (None, 1, True)


async def test_a_sell_that_was_in_flight_closes_it_and_both_say_so(desk: Desk) -> None:
    app = await desk.open()
    adopted: list[Any] = []

    async def answer(_: Received) -> web.StreamResponse:
        adopted.append(await adopt(app, ticker="NVDA", quantity=3, price=400))
        return web.json_response({"success": True})

    desk.receiver.answer = answer
    placed = await desk.order(app, "order/sell-individual", 202, ticker="NVDA")
    sell = placed["orders"][0]["signal_id"]
    await desk.settled(app)
    (trade,) = (await ask(app, "GET", "/admin/trades"))["trades"]
    assert (trade["id"], trade["closed_by"]) == (adopted[0]["id"], sell)
    assert [(each["signal_id"], each["sent_before_recorded"]) for each in trade["exits"]] == [(sell, True)]
    (attempt,) = (await ask(app, "GET", f"/admin/signals/{sell}"))["attempts"]
    assert attempt["position_recorded_at"] == adopted[0]["opened_at"]
    for language, of_trade, of_order in (
        ("en", "Sent before the position was recorded: close", "Sent before a person recorded the position"),
        (
            "pt-BR",
            "Enviada antes do registro da posição: zerar",
            "Enviada antes de alguém registrar a posição",
        ),
    ):
        preferred = BEARER | {"Accept-Language": language}
        async with app.http.get("/admin/page/trades", headers=preferred) as page:
            assert of_trade in await page.text()
        async with app.http.get(f"/admin/page/signals/{sell}", headers=preferred) as page:
            assert of_order in await page.text()


async def test_a_sell_that_is_sent_later_has_no_such_remark(desk: Desk) -> None:
    app = await desk.open()
    await adopt(app, ticker="NVDA", quantity=10)
    placed = await desk.order(app, "order/sell-all", 202)
    sell = placed["orders"][0]["signal_id"]
    await desk.settled(app)
    (trade,) = (await ask(app, "GET", "/admin/trades"))["trades"]
    assert [each["sent_before_recorded"] for each in trade["exits"]] == [False]
    (attempt,) = (await ask(app, "GET", f"/admin/signals/{sell}"))["attempts"]
    assert attempt["position_recorded_at"] is None


async def test_an_unknown_buy_that_found_nothing_leaves_the_quantity_unknown(desk: Desk) -> None:
    """It is recorded between the look at the position and the write: an exit of 5 must not become a close."""
    app = await desk.open()
    buy = await desk.send(app, "GME", "buy", quantity=2)
    await adopt(app, ticker="NVDA", quantity=10, price=400)
    async with desk.database.acquire() as connection:
        await write_unknown(
            connection,
            ticker="NVDA",
            destination="default",
            signal=buy,
            before=None,
            position=Position(Decimal(2), is_confirmed=False, average_price=Decimal(500)),
        )
    (held,) = [
        each for each in (await ask(app, "GET", "/admin/positions"))["positions"] if each["ticker"] == "NVDA"
    ]
    assert (held["quantity"], held["average_price"], held["confirmed"]) == (None, None, False)


async def test_what_is_wrong_is_refused(desk: Desk) -> None:
    app = await desk.open()
    for place, given, message in (
        ("destination", 5, "must be a text, not a whole number"),
        ("ticker", " ", "must be a ticker of 1 to 40 printable characters"),
        ("ticker", "TSLA\u200b", "must be a ticker of 1 to 40 printable characters"),
        ("ticker", "A\u00a0B", "must be a ticker of 1 to 40 printable characters"),
        ("quantity", 0, "must be more than 0"),
        ("quantity", "some", "must be a number, not 'some'"),
        ("quantity", True, "must be a number, not true or false"),
        ("price", 10**13, "must be at most 1000000000000"),
        ("price", 1e-30, "must be a number of a sensible size"),
    ):
        said = await adopt(app, 422, **{"ticker": "NVDA", place: given})
        assert [(each["loc"], each["msg"]) for each in said["detail"]] == [(["body", place], message)]
    said = await adopt(app, 404, ticker="NVDA", destination="paper")
    assert said["detail"] == "there is no destination 'paper': the destinations are default"
    said = await ask(app, "POST", ADOPT, 422, {"ticker": "NVDA"})
    assert [each["loc"] for each in said["detail"]] == [["body", "destination"]]
    assert (await ask(app, "GET", "/admin/positions"))["positions"] == []


async def test_round_and_tiny_numbers_are_plain_digits_everywhere(desk: Desk) -> None:
    """asyncpg reads 10000 as 1E+4, and Decimal writes 0.00000012 as 1.2E-7."""
    app = await desk.open()
    given = {"quantity": "10000", "price": "0.00000012"}
    made = await adopt(app, ticker="SHIB", **given)
    (held,) = (await ask(app, "GET", "/admin/positions"))["positions"]
    assert held == made
    assert await ask(app, "POST", f"/admin/positions/{made['id']}/confirm") == {
        **made,
        "confirmed": True,
        "buys": 1,
    }
    assert (held["quantity"], held["average_price"]) == ("10000", "0.00000012")
    (*_, after, _), _ = await log_of(app)
    assert after == {"ticker": "SHIB", "destination": "default", **given}
    for language, quantity, price in (("en", "10,000", "0.00000012"), ("pt-BR", "10.000", "0,00000012")):
        preferred = BEARER | {"Accept-Language": language}
        async with app.http.get("/admin/page/positions", headers=preferred) as answer:
            page = await answer.text()
        assert f">{quantity}<" in page
        assert f">{price}<" in page
    sold = await desk.send(app, "SHIB", "sell", quantity=10000, price="0.00000013")
    await desk.until(app, sold)
    signal = (await ask(app, "GET", f"/admin/signals/{sold}"))["signal"]
    assert (signal["quantity"], signal["price"]) == ("10000", "0.00000013")
    (trade,) = (await ask(app, "GET", "/admin/trades"))["trades"]
    assert (trade["entry_price"], trade["result"]) == ("0.00000012", "0.0001")


async def test_every_digit_is_stored(desk: Desk) -> None:
    app = await desk.open()
    await adopt(app, ticker="SHIB", quantity="999999999999.123456789012345678", price="0.000000000000000001")
    row = await desk.database.fetchrow("SELECT quantity, average_price, destination FROM positions")
    assert row is not None
    assert tuple(row) == (Decimal("999999999999.123456789012345678"), Decimal("1e-18"), "default")
