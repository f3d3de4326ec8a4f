"""Several destinations: each has its own orders, books, limits, circuit, gap and replay."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest_asyncio

from app.db.pool import open_pool
from tests.api.operator import BEARER, ask
from tests.api.test_admin_database import exported, imported
from tests.api.trading.receiver import always, in_turn, listening, take
from tests.api.trading.test_what_if import what_if

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Receiver

REPLAY = "dead-letters/replay"


@pytest_asyncio.fixture
async def live() -> AsyncIterator[Receiver]:
    """The destination `live`, in addition to `default`, which is the desk's receiver."""
    async with listening() as running:
        yield running


async def opened(desk: Desk, live: Receiver, *others: dict[str, Any], **of_live: Any) -> AppServer:
    """Open an application with `default` and `live`; without limits and gaps, but for keywords."""
    entry = {
        "name": "live",
        "url": live.url,
        "ticker_gap_seconds": 0,
        "rate_limiting_enabled": False,
        **of_live,
    }
    desk.configure("webhook", retry_seconds=[0.1], destinations=[entry, *others])
    return await desk.open()


async def orders_of(desk: Desk, signal: UUID) -> dict[str, str]:
    """Return the status of the signal's newest order at each destination."""
    rows = await desk.database.fetch(
        """SELECT DISTINCT ON (destination) destination, status FROM orders
           WHERE signal_id = $1 ORDER BY destination, round DESC""",
        signal,
    )
    return {row["destination"]: row["status"] for row in rows}


async def held(app: AppServer) -> dict[tuple[str, str], str | None]:
    """Return the quantity of each open position by ticker and destination."""
    listed = (await ask(app, "GET", "/admin/positions"))["positions"]
    return {(each["ticker"], each["destination"]): each["quantity"] for each in listed}


async def test_each_destination_gets_its_order_by_its_own_book(desk: Desk, live: Receiver) -> None:
    """The same exit of 5 closes what `live` holds and reduces what `default` holds."""
    app = await opened(desk, live)
    for name, quantity in (("default", 10), ("live", 5)):
        given = {"ticker": "NVDA", "destination": name, "quantity": quantity, "price": "100"}
        await ask(app, "POST", "/admin/positions/adopt", 201, given)
    sell = await desk.send(app, "NVDA", "sell", quantity=5, price=120)
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert await orders_of(desk, sell) == {"default": "delivered", "live": "delivered"}
    (reduced,), (closed,) = desk.receiver.received, live.received
    assert (reduced.alert["action"], reduced.alert["quantity"]) == ("exit", 5)
    assert closed.alert["action"] == "exit"
    assert "quantity" not in closed.alert
    assert reduced.webhook_id == closed.webhook_id == str(sell)
    assert await held(app) == {("NVDA", "default"): "5"}
    named = await desk.database.fetch(
        "SELECT detail ->> 'destination' AS name FROM signal_events WHERE signal_id = $1 AND status = $2",
        *(sell, "forwarded"),
    )
    assert sorted(row["name"] for row in named) == ["default", "live"]


async def test_an_entry_opens_a_position_at_each_and_people_close_one_of_them(
    desk: Desk, live: Receiver
) -> None:
    app = await opened(desk, live, {"name": "trial"})
    buy = await desk.send(app, "AAPL", "buy", quantity=3, price=10)
    assert (await desk.until(app, buy))["status"] == "forwarded"
    assert await held(app) == dict.fromkeys([("AAPL", "default"), ("AAPL", "live"), ("AAPL", "trial")], "3")
    assert await desk.database.fetchval("SELECT count(*) FROM paper_deliveries") == 1
    listed = (await ask(app, "GET", "/admin/positions"))["positions"]
    (position,) = [each["id"] for each in listed if each["destination"] == "live"]
    for view in ("/admin/page/positions", "/admin/page/dead-letters", "/admin"):
        async with app.http.get(view, headers=BEARER) as page:
            assert page.status == 200
            assert ">live<" in await page.text(), view
    placed = await desk.order(app, "order/close-position", 202, position_id=position)
    assert [order["destination"] for order in placed["orders"]] == ["live"]
    await desk.settled(app)
    assert set(await held(app)) == {("AAPL", "default"), ("AAPL", "trial")}
    assert len(desk.receiver.received) == 1
    everywhere = await desk.order(app, "order/sell-all", 202)
    assert [order["destination"] for order in everywhere["orders"]] == ["default", "trial"]
    await desk.settled(app)
    assert await held(app) == {}
    assert (await ask(app, "GET", "/admin/signals?destination=trial"))["signals"]
    assert [each["id"] for each in (await ask(app, "GET", "/admin/signals?destination=live"))["signals"]] == [
        placed["orders"][0]["signal_id"],
        str(buy),
    ]


async def test_a_trade_has_the_orders_of_its_destination_when_they_left_there(
    desk: Desk, live: Receiver
) -> None:
    """The add is delivered at `live` only after the trade at `default` has ended."""
    app = await opened(desk, live, match={"tickers": ["NVDA"]})
    first = await desk.send(app, "NVDA", "buy", quantity=3, price=10)
    assert (await desk.until(app, first))["status"] == "forwarded"
    live.answer = always(503)
    add = await desk.post(app, {"ticker": "NVDA", "action": "add", "quantity": 2, "price": 11})
    await desk.receiver.count(2)
    (position,) = [
        each["id"]
        for each in (await ask(app, "GET", "/admin/positions"))["positions"]
        if each["destination"] == "default"
    ]
    await desk.order(app, "order/close-position", 202, position_id=position)
    await desk.receiver.count(3)
    assert await orders_of(desk, add) != {"default": "delivered", "live": "delivered"}
    live.answer = take
    assert (await desk.until(app, add))["status"] == "forwarded"
    (trade,) = (await ask(app, "GET", "/admin/trades"))["trades"]
    assert [(each["signal_id"], each["quantity"]) for each in trade["entries"]] == [
        (str(first), "3"),
        (str(add), "2"),
    ]
    assert (trade["destination"], trade["quantity"]) == ("default", "5")


async def test_an_exit_goes_where_something_is_open_alone(desk: Desk, live: Receiver) -> None:
    desk.configure("system", unmatched_exits="forward")
    app = await opened(desk, live)
    given = {"ticker": "NVDA", "destination": "live", "quantity": 5}
    await ask(app, "POST", "/admin/positions/adopt", 201, given)
    sell = await desk.send(app, "NVDA", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert await orders_of(desk, sell) == {"live": "delivered"}
    unmatched = await desk.send(app, "GME", "sell")
    assert (await desk.until(app, unmatched))["status"] == "forwarded"
    assert await orders_of(desk, unmatched) == {"default": "delivered", "live": "delivered"}


async def test_text_that_sql_cannot_read_stops_no_decision(desk: Desk, live: Receiver) -> None:
    """Such as a NUL in a member of a file that nothing reads: it is stored with the configuration."""
    desk.configure("finviz", strategies=[{"name": "desk", "url": "list:NVDA"}], note="\u0000")
    app = await opened(desk, live)
    buy = await desk.send(app, "NVDA", "buy")
    assert (await desk.until(app, buy))["status"] == "forwarded"
    sell = await desk.send(app, "NVDA", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert await orders_of(desk, sell) == {"default": "delivered", "live": "delivered"}


async def test_match_is_for_entries_and_exits_follow_the_books(desk: Desk, live: Receiver) -> None:
    app = await opened(
        desk, live, {"name": "default", "match": {"tickers": ["AAPL"]}}, match={"sources": ["desk-two"]}
    )
    buy = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, buy))["status"] == "forwarded"
    assert await orders_of(desk, buy) == {"default": "delivered"}
    for side in ("buy", "sell"):
        other = await desk.until(app, await desk.send(app, "NVDA", side))
        assert (other["status"], other["reason_code"]) == ("rejected", "no_destination")
    given = {"ticker": "NVDA", "destination": "live"}
    await ask(app, "POST", "/admin/positions/adopt", 201, given)
    exit_ = await desk.send(app, "NVDA", "sell")
    assert (await desk.until(app, exit_))["status"] == "forwarded"
    assert await orders_of(desk, exit_) == {"live": "delivered"}
    assert await held(app) == {("AAPL", "default"): None}


async def test_an_exit_ends_the_pending_entry_of_a_destination_that_no_longer_takes_it(
    desk: Desk, live: Receiver
) -> None:
    """The entry is delivered at `default` and waits at `live`; neither is asked for a match by the exit."""
    app = await opened(
        desk,
        live,
        rate_limiting_enabled=True,
        max_req_per_min=2,
        exit_reserve={"per_min": 1, "per_hour": 0},
    )
    first = await desk.send(app, "NVDA", "buy")
    await desk.until(app, first, "forwarded")
    buy = await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(2)
    nothing = {"match": {"tickers": ["TSLA"]}}
    for name in ("default", "live"):
        await ask(app, "PUT", f"/admin/destinations/{name}", 200, nothing)
    sell = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, buy, "forwarded"))["status"] == "forwarded"
    assert await orders_of(desk, buy) == {"default": "delivered", "live": "rejected"}
    await desk.until(app, sell)
    assert (await orders_of(desk, sell))["default"] == "delivered"
    assert await held(app) == dict.fromkeys([("NVDA", "default"), ("NVDA", "live")])
    assert [got.alert["ticker"] for got in live.received] == ["NVDA"]


async def test_an_undecided_buy_is_pending_where_it_is_taken(desk: Desk, live: Receiver) -> None:
    """A part of what it will open is sold after it, and elsewhere at once."""
    desk.watch("file:top.csv", refresh_interval_sec=1)
    app = await opened(desk, live, {"name": "other", "match": {"tickers": ["NVDA"]}})
    given = {"ticker": "AAPL", "destination": "default", "quantity": 10, "price": "100"}
    await ask(app, "POST", "/admin/positions/adopt", 201, given)
    buy = await desk.send(app, "AAPL", "buy", quantity=10, price=100)
    part = await desk.send(app, "AAPL", "sell", quantity=4, price=100)

    async def is_sold_at_default() -> bool:
        return (await orders_of(desk, part)).get("default") == "delivered"

    await desk.wait(app, is_sold_at_default, lambda: "the exit waits for the buy")
    assert await orders_of(desk, part) == {"default": "delivered", "live": "pending"}
    assert live.received == []
    (wait,) = (await ask(app, "GET", f"/admin/signals/{part}"))["waits"]
    assert (wait["code"], wait["behind"]) == ("behind", str(buy))
    (desk.folder / "top.csv").write_text("AAPL\n")
    assert (await desk.until(app, buy))["status"] == "forwarded"
    assert (await desk.until(app, part, "forwarded"))["status"] == "forwarded"
    assert [got.alert["action"] for got in live.received] == ["buy", "exit"]
    # what is added to an unconfirmed position is of unknown quantity
    assert await held(app) == {("AAPL", "default"): None, ("AAPL", "live"): "6"}


async def test_an_exit_ends_an_undecided_buy_where_it_is_taken(desk: Desk, live: Receiver) -> None:
    desk.watch("file:nothing.csv")  # there is no list, so buys wait for their decision
    app = await opened(desk, live, {"name": "other", "match": {"tickers": ["NVDA"]}})
    buy = await desk.send(app, "AAPL", "buy")
    exit_ = await desk.send(app, "AAPL", "exit")
    assert (await desk.until(app, buy))["reason_code"] == "overtaken"
    await desk.until(app, exit_)
    assert await orders_of(desk, exit_) == {"default": "rejected", "live": "rejected"}
    assert desk.receiver.received == live.received == []


async def test_an_exit_waits_for_a_destination_that_is_gone(desk: Desk, live: Receiver) -> None:
    """As in a restored database. It is sent once the destination is there again."""
    app = await desk.open()
    for ticker, destination in (("AAPL", "live"), ("NVDA", "live"), ("NVDA", "default")):
        await desk.database.execute(
            """INSERT INTO positions (ticker, destination, status)
               VALUES ($1, $2, CASE $2 WHEN 'default' THEN 'open' ELSE 'held' END)""",
            *(ticker, destination),
        )
    exits = [await desk.send(app, ticker, "exit") for ticker in ("AAPL", "NVDA")]
    alone = await desk.until(app, exits[0], "approved")
    assert (alone["reason_code"], await orders_of(desk, exits[0])) == (
        "destination_missing",
        {"live": "pending"},
    )
    await desk.receiver.count(1)
    await desk.until(app, exits[1], "approved")
    for each in exits:
        (wait,) = (await ask(app, "GET", f"/admin/signals/{each}"))["waits"]
        assert wait["code"] == "destination"
    alarms = (await ask(app, "GET", "/admin/status"))["alarms"]
    assert "live" in {each["subject"] for each in alarms if each["code"] == "destination_missing"}
    given = {"name": "live", "url": live.url, "ticker_gap_seconds": 0}
    await ask(app, "POST", "/admin/destinations", 201, given)
    for each in exits:
        assert (await desk.until(app, each))["status"] == "forwarded"
    assert {got.alert["ticker"] for got in live.received} == {"AAPL", "NVDA"}
    assert await held(app) == {}


async def test_the_risk_rules_count_what_is_at_their_destination(desk: Desk, live: Receiver) -> None:
    """Open positions and the cooldown, also of buys that are reprocessed; what-if gives it all again."""
    desk.configure("system", risk={"max_open_positions": 1, "cooldown_seconds": 600})
    app = await opened(desk, live)
    given = {"ticker": "TSLA", "destination": "live"}
    await ask(app, "POST", "/admin/positions/adopt", 201, given)
    full_at_live = await desk.send(app, "NVDA", "buy")
    assert (await desk.until(app, full_at_live))["status"] == "forwarded"
    assert await orders_of(desk, full_at_live) == {"default": "delivered"}
    await desk.until(app, await desk.send(app, "NVDA", "exit"), "forwarded")
    await desk.until(app, await desk.send(app, "TSLA", "exit"), "forwarded")
    for ticker, where in (("TSLA", "default"), ("NVDA", "live")):  # the other one is cooling down
        buy = await desk.send(app, ticker, "buy")
        assert (await desk.until(app, buy))["status"] == "forwarded"
        assert await orders_of(desk, buy) == {where: "delivered"}
        await desk.until(app, await desk.send(app, ticker, "exit"), "forwarded")
    unlisted = await desk.send(app, "AMD", "buy")
    assert (await desk.until(app, unlisted))["reason_code"] == "not_listed"
    await ask(app, "POST", "/admin/positions/adopt", 201, given)
    desk.watch("list:AAPL,NVDA,TSLA,AMD", reprocess_max_age_seconds=0, reprocess_window_seconds=0)
    await app.app.state.config_store.look()
    await desk.order(app, "engine/manual-refresh", 202)

    async def is_listed() -> bool:
        query = "SELECT EXISTS (SELECT FROM top_n_lists WHERE 'AMD' = ANY (tickers))"
        return bool(await desk.database.fetchval(query))

    await desk.wait(app, is_listed, lambda: "the list was not refreshed")
    assert (await desk.order(app, "reprocessing/trigger", dry_run=False))["count"] == 1
    await desk.until(app, unlisted, "forwarded")
    assert await orders_of(desk, unlisted) == {"default": "delivered"}
    found = await what_if(app)
    assert found["reproduced"] == found["decisions"] > 6
    assert found["differences"] == []
    changed = await what_if(app, risk={"max_open_positions": None, "cooldown_seconds": 0})
    assert {each["ticker"] for each in changed["differences"]} == {"NVDA", "TSLA", "AMD"}


async def test_an_open_circuit_holds_its_destination_alone(desk: Desk, live: Receiver) -> None:
    live.answer = always(503)
    app = await opened(desk, live)
    for ticker in ("AAPL", "NVDA", "TSLA"):
        await desk.send(app, ticker, "buy")

    async def is_open() -> bool:
        return await desk.is_circuit_open()

    await desk.wait(app, is_open, lambda: "the circuit is closed")
    tried = len(live.received)
    sells = [await desk.send(app, ticker, "sell") for ticker in ("AAPL", "NVDA")]
    assert len(await desk.receiver.count(5)) == 5
    alarms = (await ask(app, "GET", "/admin/status"))["alarms"]
    assert [
        (each["subject"], each["text"][:20]) for each in alarms if each["code"] == "destination_failing"
    ] == [("live", "The destination live")]
    for sell in sells:  # its exit is pending or sent at `live`, or ended with its buy
        assert (await orders_of(desk, sell))["default"] == "delivered"
    assert len(live.received) <= tried + 1  # a probe
    keys = await desk.database.fetch("SELECT destination FROM destinations WHERE probe_at IS NOT NULL")
    assert [row["destination"].startswith("live: ") for row in keys] == [True]


async def test_limits_are_those_of_a_destination(desk: Desk, live: Receiver) -> None:
    app = await opened(
        desk,
        live,
        rate_limiting_enabled=True,
        max_req_per_min=2,
        exit_reserve={"per_min": 1, "per_hour": 0},
    )
    buys = [await desk.send(app, ticker, "buy") for ticker in ("AAPL", "NVDA")]
    await desk.receiver.count(2)
    assert len(await live.count(1)) == 1
    sent = [sorted((await orders_of(desk, buy)).items()) for buy in buys]
    assert sent[0][1] in {("live", "sending"), ("live", "delivered")}
    assert sent[1][1] == ("live", "pending")
    assert (await desk.until(app, buys[1], "approved"))["status"] == "approved"  # delivered at `default`
    assert (await orders_of(desk, buys[1]))["default"] == "delivered"
    # the exit ends what has not left at `live`, and takes the reserved request
    sell = await desk.send(app, "NVDA", "sell")
    await desk.receiver.count(3)
    assert (await desk.until(app, buys[1], "forwarded"))["status"] == "forwarded"
    assert await orders_of(desk, buys[1]) == {"default": "delivered", "live": "rejected"}
    assert (await orders_of(desk, sell))["default"] in {"sending", "delivered"}


async def test_the_gap_of_a_destination_delays_opposite_orders_there_alone(
    desk: Desk, live: Receiver
) -> None:
    app = await opened(desk, live, ticker_gap_seconds=8)
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "forwarded")
    sell = await desk.send(app, "AAPL", "sell")

    async def is_delivered_at_default() -> bool:
        return (await orders_of(desk, sell)).get("default") == "delivered"

    await desk.wait(app, is_delivered_at_default, lambda: "the exit waits at default")
    waits = (await ask(app, "GET", f"/admin/signals/{sell}"))["waits"]
    assert "gap" in {each["code"] for each in waits}
    (_, at_once), (first, later) = await desk.receiver.count(2), await live.count(2)
    assert later.at - first.at > 7.5
    assert at_once.at < later.at - 1
    assert (await desk.until(app, sell))["status"] == "forwarded"


async def test_a_replay_goes_only_where_it_was_not_delivered(desk: Desk, live: Receiver) -> None:
    live.answer = always(400)
    app = await opened(desk, live)
    buy = await desk.send(app, "AAPL", "buy", quantity=2)
    assert (await desk.until(app, buy))["status"] == "failed"
    assert await orders_of(desk, buy) == {"default": "delivered", "live": "failed"}
    live.answer = take
    assert (await desk.order(app, REPLAY, destination="default"))["count"] == 0
    assert (await desk.order(app, REPLAY, destination="live", confirm=1))["replayed"] == 1
    assert (await desk.until(app, buy, "forwarded"))["status"] == "forwarded"
    assert [got.webhook_id for got in live.received] == [str(buy), f"{buy}.r2"]
    assert [got.webhook_id for got in desk.receiver.received] == [str(buy)]
    assert await held(app) == {("AAPL", "default"): "2", ("AAPL", "live"): "2"}


async def test_a_retry_at_one_destination_sends_nothing_to_the_other(desk: Desk, live: Receiver) -> None:
    live.answer = in_turn(503, 503)
    app = await opened(desk, live)
    buy = await desk.send(app, "AAPL", "buy", quantity=2)
    assert (await desk.until(app, buy))["status"] == "forwarded"
    assert (len(live.received), len(desk.receiver.received)) == (3, 1)
    assert await held(app) == {("AAPL", "default"): "2", ("AAPL", "live"): "2"}


async def test_a_destination_that_is_added_gets_what_comes_next(desk: Desk, live: Receiver) -> None:
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, buy))["status"] == "forwarded"
    desk.configure("webhook", destinations=[{"name": "live", "url": live.url}])

    async def is_there() -> bool:
        return app.context.config.destination("live") is not None

    await desk.wait(app, is_there, lambda: "the file was not read")
    later = await desk.send(app, "NVDA", "buy")
    assert (await desk.until(app, later))["status"] == "forwarded"
    assert len(live.received) == 1
    assert await held(app) == {
        ("AAPL", "default"): None,
        ("NVDA", "default"): None,
        ("NVDA", "live"): None,
    }


async def test_a_failed_exit_is_an_alarm_until_one_is_delivered_there(desk: Desk, live: Receiver) -> None:
    """An exit that is delivered at another destination ends nothing."""
    live.answer = always(400)
    app = await opened(desk, live)

    async def failed() -> set[str]:
        alarms = (await ask(app, "GET", "/admin/status"))["alarms"]
        return {each["subject"] for each in alarms if each["code"] == "sells_failed"}

    async def close(destination: str) -> None:
        listed = (await ask(app, "GET", "/admin/positions"))["positions"]
        (position,) = [each["id"] for each in listed if each["destination"] == destination]
        await desk.order(app, "order/close-position", 202, position_id=position)
        await desk.settled(app)

    for name in ("default", "live"):
        given = {"ticker": "AAPL", "destination": name}
        await ask(app, "POST", "/admin/positions/adopt", 201, given)
    await close("live")
    assert await failed() == {"AAPL (live)"}
    await close("default")
    assert await held(app) == {("AAPL", "live"): None}
    assert await failed() == {"AAPL (live)"}
    live.answer = take
    await close("live")
    assert await failed() == set()


async def test_an_import_has_the_orders_of_each_destination(desk: Desk, live: Receiver) -> None:
    desk.receiver.answer = always(400)
    app = await opened(desk, live)
    both = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, both))["status"] == "failed"
    await ask(app, "POST", "/admin/positions/adopt", 201, {"ticker": "NVDA", "destination": "live"})
    one = await desk.send(app, "NVDA", "sell")
    assert (await desk.until(app, one))["status"] == "forwarded"
    stored = """SELECT signal_id, destination, round, status, attempts, ended_at, is_shared FROM orders
                ORDER BY signal_id, destination"""
    sent_to = "SELECT signal_id, sent_to, outcome FROM attempts ORDER BY signal_id, sent_to"
    before = [await desk.database.fetch(query) for query in (stored, sent_to)]
    assert len(before[0]) == 3
    content = await exported(app)
    await desk.database.execute("DELETE FROM signals")
    assert (await imported(app, content))["imported"] == 2
    assert [await desk.database.fetch(query) for query in (stored, sent_to)] == before
    assert (await desk.signal(both))["status"] == "failed"


async def test_a_file_without_a_destination_in_use_counts_once_nothing_is_open_there(
    desk: Desk, live: Receiver
) -> None:
    """Its exits are sent meanwhile, also after a restart."""
    app = await opened(desk, live)
    for ticker in ("AAPL", "NVDA"):
        given = {"ticker": ticker, "destination": "live"}
        await ask(app, "POST", "/admin/positions/adopt", 201, given)
    desk.configure("webhook", timeout=3)

    async def problem() -> str | None:
        found: str | None = (await ask(app, "GET", "/admin/destinations"))["problem"]
        return found

    async def is_refused() -> bool:
        return await problem() is not None

    await desk.wait(app, is_refused, lambda: "the file was not refused")
    assert "'live' has open positions and cannot be removed or become paper: close AAPL, NVDA there" in str(
        await problem()
    )
    alarms = (await ask(app, "GET", "/admin/status"))["alarms"]
    assert "webhook_config.json" in {each["subject"] for each in alarms if each["code"] == "config_wrong"}
    sell = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"

    app = await desk.open()
    sell = await desk.send(app, "NVDA", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert len(live.received) == 2

    async def is_applied() -> bool:
        return app.context.config.destination("live") is None and await problem() is None

    await desk.wait(app, is_applied, lambda: "the file was not applied")
    assert app.context.config.webhook.timeout == 3


async def test_destinations_are_changed_by_the_api_and_show_no_password(desk: Desk, live: Receiver) -> None:
    app = await desk.open()
    path, masked = "/admin/destinations", live.url.partition("/hook")[0] + "/***"
    created = await ask(app, "POST", path, 201, {"name": "live", "url": live.url, "ticker_gap_seconds": 0})
    assert created == {"name": "live"}
    default, shown = (await ask(app, "GET", path))["destinations"]
    assert (default["values"]["name"], shown["kind"], shown["state"]) == ("default", "live", "open")
    assert (shown["values"]["url"], shown["values"]["max_req_per_min"]) == (masked, 60)
    # the mask sent back is no change of the URL
    await ask(app, "PUT", f"{path}/live", 200, {"url": masked, "timeout": 3, "match": {"tickers": ["AAPL"]}})
    config = app.context.config.destination("live")
    assert config is not None
    assert (config.url, config.timeout, config.match.tickers) == (live.url, 3, ("AAPL",))
    await ask(app, "PUT", f"{path}/default", 200, {"match": {"tickers": ["AAPL", "NVDA"]}})
    for name, given, expected in (
        ("live", {"name": "other"}, 409),
        ("other", {"timeout": 3}, 404),
        ("live", {"timeout": 0}, 422),
        ("default", {"timeout": 3}, 422),
    ):
        await ask(app, "PUT", f"{path}/{name}", expected, given)
    await ask(app, "POST", path, 422, {"name": "live"})
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    assert len(live.received) == 1
    refused = (await ask(app, "DELETE", f"{path}/live", 409))["detail"]
    assert refused == (
        "'live' has open positions and cannot be removed or become paper: close AAPL there, "
        "or mark them closed, first"
    )
    await desk.order(app, "order/sell-all", 202)
    await desk.settled(app)
    await ask(app, "DELETE", f"{path}/live")
    assert len((await ask(app, "GET", path))["destinations"]) == 1
    log = await ask(app, "GET", "/admin/actions-log")
    assert "password=hidden" not in str(log)
    assert "destination.delete" in str(log)


_ENDS = ("sending", "pending", "failed", "unknown", "expired", "delivered", "rejected")
_DERIVED = {
    "sending": "forwarding",
    "pending": "approved",
    "failed": "failed",
    "unknown": "failed",
    "expired": "expired",
    "delivered": "forwarded",
    "rejected": "rejected",
}


async def test_the_status_of_a_signal_follows_from_its_newest_orders(database_url: str) -> None:
    """Every combination of three, whichever order changes last; an earlier round does not count."""
    signals = {uuid4(): ends for ends in itertools.product(_ENDS, repeat=3)}
    rounds = (("a", 1, None), ("a", 2, 0), ("b", 1, 1), ("c", 1, 2))
    async with await open_pool(database_url, 1) as pool:
        await pool.executemany(
            """INSERT INTO signals (id, status, type, ticker, expires_at, body)
               VALUES ($1, 'approved', 'buy', 'AAPL', now() + interval '1 hour', '{}')""",
            [(signal,) for signal in signals],
        )
        for name, round_, index in rounds:
            await pool.executemany(
                """INSERT INTO orders (signal_id, destination, round, seq, type, ticker, expires_at,
                                       is_shared)
                   SELECT id, $2, $3, seq, type, ticker, expires_at, true FROM signals WHERE id = $1""",
                [(signal, name, round_) for signal in signals],
            )
            await pool.executemany(
                """UPDATE orders
                   SET status = $4, ended_at = CASE WHEN $4 NOT IN ('pending', 'sending') THEN now() END
                   WHERE signal_id = $1 AND destination = $2 AND round = $3""",
                [
                    (signal, name, round_, "failed" if index is None else ends[index])
                    for signal, ends in signals.items()
                ],
            )
        found = {row["id"]: row["status"] for row in await pool.fetch("SELECT id, status FROM signals")}
    for signal, ends in signals.items():
        assert found[signal] == _DERIVED[min(ends, key=_ENDS.index)], ends
