"""The intent of alerts: through the application to a model of the broker bridge, and back to the book."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from aiohttp import web

from tests.api.operator import BEARER, ask
from tests.api.trading.receiver import always, in_turn, take
from tests.broker import Account, Broker

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received

BUY_TEN: dict[str, Any] = {"action": "buy", "quantity": "10", "sentiment": "long"}
BUY: dict[str, Any] = {"action": "buy"}
UNKNOWN = "unknown"


class Row(NamedTuple):
    """Alerts of one ticker, one after the other.

    `sent` is the action and quantity of the last body, None if there is none. `held` is what the book then
    says, None if nothing is open.
    """

    alerts: list[dict[str, Any]]
    sent: tuple[str, Any] | None
    held: Decimal | str | None
    reason: str = "delivered"  # its code


ROWS = [
    Row([{**BUY_TEN, "action": word}], ("buy", "10"), Decimal(10))
    for word in ("buy", " BUY ", "long", "enter", "enter_long", "buy_to_open")
]
ROWS += [
    Row([{"action": "Buy", "quantity": 2.5, "quantityType": "fixed_quantity"}], ("buy", 2.5), Decimal("2.5")),
    Row([BUY], ("buy", None), UNKNOWN),
    Row([{**BUY, "quantity": 500, "quantityType": "dollar_amount"}], ("buy", 500), UNKNOWN),
    # a buy while open, an add
    Row([BUY_TEN, BUY_TEN], ("buy", "10"), UNKNOWN),
    Row([BUY_TEN, {"action": "add", "quantity": 5}], ("add", 5), Decimal(15)),
    Row([{"action": "add", "quantity": 5}], None, None, "nothing_to_add_to"),
    # a buy that covers a short
    *(
        Row(
            [{**BUY_TEN, "sentiment": sentiment}],
            None,
            None,
            "covers_short",
        )
        for sentiment in ("flat", "short", "bearish")
    ),
    # an exit of all
    *(
        Row([BUY_TEN, {"action": word}], ("exit", None), None)
        for word in ("sell", "EXIT", "close", "flat", "flatten", "exit_long", "close_long", "sell_to_close")
    ),
    Row([BUY_TEN, {"action": "sell", "quantity": 5, "sentiment": "flat"}], ("exit", None), None),
    Row([BUY_TEN, {"action": "sell", "quantity": 20, "sentiment": "short"}], ("exit", None), None),
    Row([BUY_TEN, {"action": "reverse", "quantity": 20}], ("exit", None), None),
    Row([BUY_TEN, {"action": "sell", "quantity": "10"}], ("exit", None), None),
    Row([BUY_TEN, {"action": "sell", "quantity": 11}], ("exit", None), None),
    Row([BUY_TEN, {"action": "sell", "quantity": "0"}], ("exit", None), None),
    Row([BUY_TEN, {"action": "sell", "sentiment": "long"}], ("exit", None), None),
    Row([BUY_TEN, {"action": "sell", "quantity": "100%"}], ("exit", None), None),
    # of a part
    Row([BUY_TEN, {"action": "sell", "quantity": "4"}], ("exit", "4"), Decimal(6)),
    Row([BUY_TEN, {"action": "sell", "quantity": 4, "sentiment": "long"}], ("exit", 4), Decimal(6)),
    Row([BUY_TEN, {"action": "sell", "quantity": "50%"}], ("exit", "50"), Decimal(5)),
    Row(
        [BUY_TEN, {"action": "exit", "quantity": 30, "quantityType": "percent_of_position"}],
        ("exit", 30),
        Decimal(7),
    ),
    Row([BUY, {"action": "sell", "quantity": 4}], ("exit", 4), UNKNOWN),
    Row(
        [BUY_TEN, *[{"action": "sell", "quantity": 5, "sentiment": "long", "n": 1}]], ("exit", 5), Decimal(5)
    ),
    Row(
        [
            BUY_TEN,
            {"action": "sell", "quantity": "5", "sentiment": "long"},
            {"action": "sell", "quantity": "5", "sentiment": "flat"},
        ],
        ("exit", None),
        None,
    ),
    Row(
        [BUY_TEN, {"action": "sell", "quantity": 6}, {"action": "sell", "quantity": 4}], ("exit", None), None
    ),
    Row(
        [BUY_TEN, {"action": "sell", "quantity": 0, "sentiment": "long"}],
        ("buy", "10"),
        Decimal(10),
        "quantity_unusable",
    ),
    # orders at the bridge
    Row([BUY_TEN, {"action": "cancel"}], ("cancel", None), Decimal(10)),
    Row([{"action": "cancel"}], None, None, "nothing_open"),
    # shorts
    *(
        Row([{"action": word}], None, None, "short_selling")
        for word in ("short", "sell_short", "enter_short", "cover", "buy_to_cover", "exit_short")
    ),
    Row([{"action": "sell"}], None, None, "nothing_open"),
]


def attach(desk: Desk, broker: Broker) -> None:
    """Let the broker answer at the destination."""

    async def answer(received: Received) -> web.StreamResponse:
        answered = broker.receive(received.body)
        return web.Response(status=answered.status, body=answered.body)

    desk.receiver.answer = answer


async def book(desk: Desk, ticker: str) -> asyncpg.Record | None:
    """Return the open position of a ticker."""
    return await desk.database.fetchrow(
        "SELECT * FROM positions WHERE status = 'open' AND ticker = $1", ticker
    )


async def test_each_row(desk: Desk) -> None:
    broker = Broker(Account())
    attach(desk, broker)
    tickers = [f"T{number}" for number in range(len(ROWS))]
    desk.watch(f"list:{','.join(tickers)}", top_n=len(tickers))
    desk.configure("webhook", dedupe_window_seconds=0)
    app = await desk.open()
    for ticker, row in zip(tickers, ROWS, strict=True):
        for alert in row.alerts:
            last = await desk.until(app, await desk.send(app, ticker, "", **alert))
        assert last["reason_code"] == row.reason, row
        bodies = [body for body in broker.bodies if body["ticker"] == ticker]
        sent = (bodies[-1]["action"], bodies[-1].get("quantity")) if bodies else None
        assert sent == row.sent, row
        position = await book(desk, ticker)
        held = position and (UNKNOWN if position["quantity"] is None else position["quantity"])
        assert held == row.held, row
        if held != UNKNOWN:
            assert broker.held(ticker) == (held or 0), row
    assert all(broker.held(ticker) >= 0 for ticker in tickers)


@pytest.mark.parametrize(("policy", "action", "held"), [("add", "add", 15), ("reject", "buy", 10)])
async def test_a_buy_while_open_as_configured(desk: Desk, policy: str, action: str, held: int) -> None:
    broker = Broker(Account())
    attach(desk, broker)
    desk.configure("system", duplicate_buys=policy)
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "", **BUY_TEN))
    await desk.until(app, await desk.send(app, "AAPL", "", **{**BUY_TEN, "quantity": 5}))
    assert broker.bodies[-1]["action"] == action
    position = await book(desk, "AAPL")
    assert position is not None
    assert position["quantity"] == broker.held("AAPL") == held


async def test_a_part_of_an_unknown_quantity_closes_where_configured(desk: Desk) -> None:
    desk.configure("system", partial_exits="close")
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "", **BUY))
    await desk.until(app, await desk.send(app, "AAPL", "", action="sell", quantity=4))
    assert "quantity" not in desk.receiver.received[-1].alert
    assert await book(desk, "AAPL") is None


async def test_an_unmatched_exit_is_forwarded_where_configured(desk: Desk) -> None:
    broker = Broker(Account())
    attach(desk, broker)
    desk.configure("system", unmatched_exits="forward")
    app = await desk.open()
    sell = await desk.until(app, await desk.send(app, "AAPL", "", action="sell"))
    assert sell["status"] == "forwarded"
    assert broker.bodies[-1]["action"] == "exit"
    assert broker.held("AAPL") == 0


async def test_prices_of_alerts_make_average_and_gain(desk: Desk) -> None:
    app = await desk.open()
    for action, quantity, price in (("buy", 10, 100), ("add", 10, 110), ("sell", 5, "125")):
        alert = {"action": action, "quantity": quantity, "price": price}
        await desk.until(app, await desk.send(app, "AAPL", "", **alert))
    (position,) = (await ask(app, "GET", "/admin/positions"))["positions"]
    assert (position["quantity"], position["average_price"], position["realized"]) == ("15", "105", "100")
    async with app.http.get("/admin/page/positions", headers=BEARER) as answer:
        page = await answer.text()
    assert all(f">{figure}<" in page for figure in ("15", "105"))
    await desk.until(app, await desk.send(app, "AAPL", "", action="sell", price=95))
    assert await desk.database.fetchval("SELECT realized FROM positions") == -50


async def test_an_entry_after_a_reversal_carries_a_warning(desk: Desk) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "", **BUY_TEN))
    await desk.until(app, await desk.send(app, "AAPL", "", action="sell", quantity=20, sentiment="short"))
    entry = await desk.send(app, "AAPL", "", **{**BUY_TEN, "quantity": 20})
    await desk.until(app, entry)
    events = (await ask(app, "GET", f"/admin/signals/{entry}"))["events"]
    assert events[1]["detail"]["remarks"] == ["the quantity may include covering a short"]


# exits and entries at once


async def test_a_close_overtakes_the_buys_that_have_not_left(desk: Desk) -> None:
    """Undecided without a fresh list, or approved and paused: both end, and no exit waits."""
    desk.configure("system", delivery_paused=True)
    desk.watch("file:missing.csv")
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    app = await desk.open()
    undecided = await desk.send(app, "AAPL", "", **BUY_TEN)
    close = await desk.send(app, "AAPL", "", action="sell")
    later = await desk.send(app, "AAPL", "", **BUY_TEN)
    assert (await desk.until(app, close, "approved"))["intent"] == "close"
    overtaken = await desk.until(app, undecided)
    assert (overtaken["status"], overtaken["reason_code"]) == ("rejected", "overtaken")
    assert (await desk.signal(later))["status"] == "received"
    await desk.database.execute("UPDATE signals SET status = 'approved' WHERE id = $1", later)
    again = await desk.send(app, "AAPL", "", action="sell", sentiment="flat")
    assert (await desk.until(app, later))["reason_code"] == "overtaken"
    await desk.order(app, "delivery/resume")
    assert (await desk.until(app, close))["status"] == "forwarded"
    assert (await desk.until(app, again))["reason_code"] in {"buy_undelivered", "closed_before"}
    assert [got.alert["action"] for got in desk.receiver.received] == ["exit"]


async def test_a_part_passes_an_undecided_buy_and_ends_none(desk: Desk) -> None:
    desk.watch("file:top.csv", refresh_interval_sec=1)
    await desk.database.execute("INSERT INTO positions (ticker, quantity) VALUES ('AAPL', 10)")
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "", **BUY_TEN)
    part = await desk.send(app, "AAPL", "", action="sell", quantity=4, sentiment="long")
    assert (await desk.until(app, part))["status"] == "forwarded"
    assert (await desk.signal(buy))["status"] == "received"
    (desk.folder / "top.csv").write_text("Ticker\nAAPL\n")
    assert (await desk.until(app, buy))["status"] == "forwarded"


async def test_a_close_waits_for_an_open_attempt_only(desk: Desk) -> None:
    """The buy is not accepted while its exit waits: it is not attempted again."""
    desk.configure("webhook", retry_seconds=[3600])
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    go = asyncio.Event()

    async def busy(received: Received) -> web.StreamResponse:
        await go.wait()
        if received.alert["action"] == "buy":
            return web.Response(status=503)
        return await take(received)

    desk.receiver.answer = busy
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "", **BUY_TEN)
    await desk.receiver.count(1)
    close = await desk.send(app, "AAPL", "", action="sell")
    await desk.until(app, close, "approved")
    go.set()
    assert (await desk.until(app, close))["status"] == "forwarded"
    assert (await desk.signal(buy))["reason_code"] == "overtaken"
    assert [got.alert["action"] for got in desk.receiver.received] == ["buy", "exit"]


async def test_a_person_s_close_overtakes_and_sell_all_ends_every_waiting_buy(desk: Desk) -> None:
    desk.configure("system", delivery_paused=True)
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    app = await desk.open()
    buys = {ticker: await desk.send(app, ticker, "", **BUY_TEN) for ticker in ("AAPL", "NVDA")}
    for buy in buys.values():
        await desk.until(app, buy, "approved")
    position = await desk.database.fetchval("SELECT id FROM positions")
    await desk.order(app, "order/close-position", 202, position_id=str(position))
    assert (await desk.signal(buys["AAPL"]))["reason_code"] == "overtaken"
    assert (await desk.signal(buys["NVDA"]))["status"] == "approved"
    await desk.order(app, "order/sell-all", 202)
    assert (await desk.signal(buys["NVDA"]))["reason_code"] == "overtaken"


async def test_sell_all_is_not_held_back_by_a_pending_part(desk: Desk) -> None:
    desk.configure("system", delivery_paused=True)
    await desk.database.execute("INSERT INTO positions (ticker, quantity) VALUES ('AAPL', 10)")
    app = await desk.open()
    part = await desk.send(app, "AAPL", "", action="sell", quantity=4)
    assert (await desk.until(app, part, "approved"))["intent"] == "reduce"
    placed = await desk.order(app, "order/sell-all", 202)
    assert [order["ticker"] for order in placed["orders"]] == ["AAPL"]
    again = await desk.order(app, "order/sell-all", 202)
    assert (again["queued"], len(again["already"])) == (0, 1)


# outcomes


async def unknown(desk: Desk, *alerts: dict[str, Any]) -> tuple[asyncpg.Record | None, UUID]:
    """Return the open position after the last alert was answered with 500, and its signal."""
    desk.configure("webhook", retry_seconds=[3600])
    app = await desk.open()
    for alert in alerts[:-1]:
        await desk.until(app, await desk.send(app, "AAPL", "", **alert))
    desk.receiver.answer = in_turn(500)
    signal = await desk.send(app, "AAPL", "", **alerts[-1])

    async def has_ended() -> bool:
        return any(attempt["ended_at"] for attempt in await desk.attempts(signal))

    await desk.wait(app, has_ended, lambda: "the attempt is open")
    return await book(desk, "AAPL"), signal


@pytest.mark.parametrize(
    ("alerts", "held", "status"),
    [
        ([BUY_TEN], 10, "failed"),
        ([BUY_TEN, {"action": "add", "quantity": 5}], None, "failed"),
        ([BUY_TEN, {"action": "sell", "quantity": 4}], None, "approved"),
        ([BUY_TEN, {"action": "sell"}], 10, "approved"),
    ],
)
async def test_after_an_unknown_outcome_the_position_is_unconfirmed(
    desk: Desk, alerts: list[dict[str, Any]], held: int | None, status: str
) -> None:
    position, signal = await unknown(desk, *alerts)
    assert position is not None
    assert (position["confirmed"], position["quantity"]) == (False, held)
    assert (await desk.signal(signal))["status"] == status


@pytest.mark.parametrize("status", [400, 503])
async def test_an_order_that_was_certainly_not_executed_changes_nothing(desk: Desk, status: int) -> None:
    desk.configure("webhook", retry_seconds=[3600])
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "", **BUY_TEN))
    desk.receiver.answer = always(status)
    part = await desk.send(app, "AAPL", "", action="sell", quantity=4)
    await desk.receiver.count(2)
    await desk.until(app, part, "failed", "approved")
    position = await book(desk, "AAPL")
    assert position is not None
    assert (position["quantity"], position["confirmed"]) == (10, True)


async def test_an_attempt_keeps_what_was_sent(desk: Desk) -> None:
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "", **BUY_TEN))
    part = await desk.until(app, await desk.send(app, "AAPL", "", action="sell", quantity="50%"))
    assert (part["intent"], part["quantity"], part["quantity_unit"]) == ("reduce", 50, "percent")
    (attempt,) = await desk.attempts(part["id"])
    assert (attempt["intent"], attempt["booked"]) == ("reduce", "delivered")
    story = await ask(app, "GET", f"/admin/signals/{part['id']}")
    assert [story["signal"][key] for key in ("intent", "quantity", "quantity_unit")] == [
        *("reduce", "50", "percent")
    ]
    assert story["attempts"][0]["intent"] == "reduce"
    async with app.http.get(f"/admin/page/signals/{part['id']}", headers=BEARER) as answer:
        assert "<dd>sell a part</dd>" in (page := await answer.text())
    assert "<dd>50 %</dd>" in page
