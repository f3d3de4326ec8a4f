"""Orders that a person places: each once, however often it is requested."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.api.operator import log_of
from tests.api.trading.receiver import always, take

if TYPE_CHECKING:
    from uuid import UUID

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk


async def bought(desk: Desk, app: AppServer, *tickers: str) -> dict[str, UUID]:
    """Buy these tickers, and return their positions."""
    for ticker in tickers:
        await desk.until(app, await desk.send(app, ticker, "buy"), "forwarded")
    return {
        row["ticker"]: row["id"]
        for row in await desk.database.fetch("SELECT ticker, id FROM positions WHERE status = 'open'")
    }


def sent(desk: Desk, action: str) -> list[str]:
    """Return the tickers of the orders that the destination got."""
    return [got.alert["ticker"] for got in desk.receiver.received if got.alert.get("action") == action]


async def test_a_person_sells_any_ticker(desk: Desk) -> None:
    app = await desk.open()
    answer = await desk.order(app, "order/sell-individual", 202, ticker=" zzz ")
    (order,) = answer["orders"]
    assert (answer["queued"], order["ticker"], order["type"]) == (1, "ZZZ", "manual_sell")
    await desk.until(app, order["signal_id"], "forwarded")
    (got,) = desk.receiver.received
    assert got.alert == {"ticker": "ZZZ", "action": "exit", "signal_id": order["signal_id"]}
    assert await desk.story(order["signal_id"]) == ["received", "approved", "forwarding", "forwarded"]


async def test_a_position_is_closed_by_its_id_once(desk: Desk) -> None:
    app = await desk.open()
    position = (await bought(desk, app, "AAPL"))["AAPL"]
    answer = await desk.order(app, "order/close-position", 202, position_id=str(position))
    assert answer["orders"][0]["type"] == "position_close"
    await desk.until(app, answer["orders"][0]["signal_id"], "forwarded")
    assert await desk.open_positions() == {}
    assert sent(desk, "exit") == ["AAPL"]
    again = await desk.order(app, "order/close-position", 409, position_id=str(position))
    assert again["detail"] == "the position in AAPL is closed already"
    unknown = await desk.order(app, "order/close-position", 404, position_id=str(nobody := uuid4()))
    assert "/admin/positions" in unknown["detail"]
    assert [(target, after, result) for *_, target, _, after, result in await log_of(app)][1:] == [
        (str(position), None, f"refused: {again['detail']}"),
        (str(nobody), None, f"refused: {unknown['detail']}"),
    ]


async def test_a_pending_order_absorbs_an_equal_one(desk: Desk) -> None:
    app = await desk.open()
    position = (await bought(desk, app, "AAPL"))["AAPL"]
    desk.receiver.answer = always(503)
    first = await desk.order(app, "order/close-position", 202, position_id=str(position))
    for path, body in (
        ("order/close-position", {"position_id": str(position)}),
        ("order/sell-individual", {"ticker": "aapl"}),
        ("order/sell-all", {}),
    ):
        again = await desk.order(app, path, 202, **body)
        assert (again["queued"], again["already"]) == (0, first["orders"])
    desk.receiver.answer = take
    await desk.settled(app)
    assert await desk.open_positions() == {}


async def test_sell_all_sells_each_open_ticker_once(desk: Desk) -> None:
    app, other = await desk.open(), await desk.open()
    await bought(desk, app, "AAPL", "NVDA", "AAPL", "TSLA")
    answers = await asyncio.gather(
        *(desk.order(server, "order/sell-all", 202) for server in (app, other, app, other))
    )
    assert sum(answer["queued"] for answer in answers) == 3
    await desk.settled(app)
    assert sorted(sent(desk, "exit")) == ["AAPL", "NVDA", "TSLA"]
    assert await desk.open_positions() == {}
    assert (await desk.order(app, "order/sell-all", 202)) == {"queued": 0, "orders": [], "already": []}


async def test_what_an_alert_is_selling_already_is_left_out_of_sell_all(desk: Desk) -> None:
    app = await desk.open()
    await bought(desk, app, "AAPL", "NVDA")
    desk.receiver.answer = always(503)
    alert = await desk.send(app, "AAPL", "sell")
    await desk.until(app, alert, "approved", "forwarding")
    answer = await desk.order(app, "order/sell-all", 202)
    assert [order["ticker"] for order in answer["orders"]] == ["NVDA"]
    assert [order["signal_id"] for order in answer["already"]] == [str(alert)]


async def test_sell_all_and_close_do_not_leave_out_what_an_alert_sells_a_part_of(desk: Desk) -> None:
    app = await desk.open()
    position = (await bought(desk, app, "AAPL"))["AAPL"]
    desk.receiver.answer = always(503)
    partial = await desk.send(app, "AAPL", "sell", quantity=1, sentiment="long")
    await desk.until(app, partial, "approved", "forwarding")
    answer = await desk.order(app, "order/sell-all", 202)
    assert (answer["queued"], answer["already"]) == (1, [])
    again = await desk.order(app, "order/close-position", 202, position_id=str(position))
    assert (again["queued"], again["already"]) == (0, answer["orders"])
    desk.receiver.answer = take
    await desk.settled(app)
    assert (await desk.signal(partial))["status"] == "forwarded"
    assert await desk.open_positions() == {}


async def test_a_persons_sell_is_sent_after_an_alerts_partial_exit(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[0.2])
    app = await desk.open()
    await bought(desk, app, "AAPL")
    desk.receiver.answer = always(503)
    partial = await desk.send(app, "AAPL", "sell", quantity=1)
    await desk.until(app, partial, "approved", "forwarding")
    manual = (await desk.order(app, "order/sell-individual", 202, ticker="AAPL"))["orders"][0]["signal_id"]
    desk.receiver.answer = take
    await desk.until(app, manual, "forwarded")
    assert (await desk.signal(partial))["status"] == "forwarded"
    assert await desk.open_positions() == {}


async def test_a_position_closed_elsewhere_is_marked_and_nothing_is_sent(desk: Desk) -> None:
    app = await desk.open()
    position = (await bought(desk, app, "AAPL"))["AAPL"]
    closed = await desk.order(
        app, "order/mark-closed", position_id=str(position), reason=" sold by telephone "
    )
    assert (closed["ticker"], closed["reason"]) == ("AAPL", "marked closed: sold by telephone")
    assert await desk.open_positions() == {}
    assert sent(desk, "exit") == []
    await desk.order(app, "order/mark-closed", 409, position_id=str(position), reason="again")
    await desk.order(app, "order/mark-closed", 404, position_id=str(uuid4()), reason="again")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("order/sell-individual", {"ticker": "A\tAPL"}),
        ("order/sell-individual", {"ticker": 7}),
        ("order/sell-individual", {}),
        ("order/close-position", {"position_id": "AAPL"}),
        ("order/mark-closed", {"position_id": str(uuid4()), "reason": " "}),
        ("order/mark-closed", {"position_id": str(uuid4()), "reason": "a\0b"}),
    ],
)
async def test_an_odd_order_is_refused(desk: Desk, path: str, body: dict[str, object]) -> None:
    await desk.order(await desk.open(), path, 422, **body)


async def test_open_positions_are_listed_with_pending_orders(desk: Desk) -> None:
    app = await desk.open()
    position = (await bought(desk, app, "NVDA", "AAPL"))["AAPL"]
    desk.receiver.answer = always(503)
    await desk.order(app, "order/close-position", 202, position_id=str(position))
    headers = {"Authorization": f"Bearer {app.context.settings.admin_token}"}
    async with app.http.get("/admin/positions", headers=headers) as answer:
        listed = (await answer.json())["positions"]
    assert [(row["ticker"], row["buys"], row["opening"], row["closing"]) for row in listed] == [
        ("AAPL", 1, False, True),
        ("NVDA", 1, False, False),
    ]


async def test_orders_need_the_token(desk: Desk) -> None:
    app = await desk.open()
    async with app.http.post("/admin/order/sell-all") as answer:
        assert answer.status == 401


async def test_peoples_orders_are_sent_before_buys(desk: Desk) -> None:
    app = await desk.open(forwarding_workers=1)
    await desk.order(app, "delivery/pause")
    buy = await desk.send(app, "NVDA", "buy")
    await desk.until(app, buy, "approved")
    manual = (await desk.order(app, "order/sell-individual", 202, ticker="ZZZ"))["orders"][0]["signal_id"]
    await desk.order(app, "delivery/resume")
    await desk.settled(app)
    assert [got.webhook_id for got in desk.receiver.received] == [manual, str(buy)]


async def test_every_order_is_in_the_actions_log(desk: Desk) -> None:
    app = await desk.open()
    positions = await bought(desk, app, "AAPL", "NVDA")
    await desk.order(app, "order/mark-closed", position_id=str(positions["NVDA"]), reason="by telephone")
    sold = await desk.order(app, "order/sell-individual", 202, ticker="ZZZ")
    await desk.order(app, "order/sell-all", 202)
    told = [(action, target, after) for _, _, action, target, _, after, _ in await log_of(app)]
    assert [action for action, _, _ in told] == [
        "order.mark-closed",
        "order.sell-individual",
        "order.sell-all",
    ]
    assert told[0][1:] == (
        str(positions["NVDA"]),
        {"status": "closed", "reason": "marked closed: by telephone"},
    )
    assert told[1][1:] == ("ZZZ", {"queued": 1, "orders": {"ZZZ": sold["orders"][0]["signal_id"]}})
    assert told[2][2]["queued"] == 1
