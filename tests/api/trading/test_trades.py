"""Closed positions as trades: equal to the model broker's fills in quantity, by alert price in decimals."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from app.admin.routes.trades import COLUMNS
from app.db.queries import load
from app.positions.trades_repository import MOST_ORDERS
from tests.api.operator import BEARER, ask
from tests.api.trading.receiver import in_turn
from tests.api.trading.test_intents import attach
from tests.api.trading.test_plans import rows_read
from tests.broker import Account, Broker

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

_HISTORY = """
    INSERT INTO positions (ticker, status, opened_by, closed_by, opened_at, closed_at, quantity, average_price, realized)
    SELECT 'T' || n % 100, 'closed', gen_random_uuid(), gen_random_uuid(), now() - make_interval(secs => n + 60),
           now() - make_interval(secs => n - n % 3), 1, 10, CASE n % 4 WHEN 0 THEN -0.1 WHEN 1 THEN NULL ELSE 0.2 END
    FROM generate_series(1, $1::int) AS n
"""  # noqa: E501  # one row of values


@pytest.fixture
def broker(desk: Desk) -> Broker:
    """Attach the model broker to the destination."""
    made = Broker(Account())
    attach(desk, made)
    return made


async def play(desk: Desk, app: AppServer, *alerts: dict[str, Any], ticker: str = "AAPL") -> list[UUID]:
    """Send alerts, each after the previous one is delivered; return their signals."""
    sent = []
    for alert in alerts:
        fields = {"ticker": ticker, **alert}
        sent.append(await desk.send(app, fields.pop("ticker"), "", **fields))
        assert (await desk.until(app, sent[-1]))["status"] == "forwarded"
    return sent


def buy(quantity: Any = None, price: Any = None, action: str = "buy", **fields: Any) -> dict[str, Any]:
    """An alert with what is given."""
    given = {"action": action, "quantity": quantity, "price": price, **fields}
    return {name: value for name, value in given.items() if value is not None}


def sell(quantity: Any = None, price: Any = None, **fields: Any) -> dict[str, Any]:
    """An alert with what is given."""
    return buy(quantity, price, "sell", **fields)


async def trades(app: AppServer, **query: Any) -> list[dict[str, Any]]:
    """Return the trades that the API lists, read in pages of a size."""
    found, cursor = list[dict[str, Any]](), dict[str, str]()
    while True:
        page = await ask(app, "GET", "/admin/trades", **query, **cursor)
        found += page["trades"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def exported(app: AppServer, **query: Any) -> list[dict[str, str]]:
    """Return the rows of the CSV file."""
    async with app.http.get("/admin/trades/export", params=query, headers=BEARER) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/csv")
        assert 'attachment; filename="trades-' in answer.headers["Content-Disposition"]
        content = await answer.read()
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def parts(orders: list[dict[str, Any]]) -> list[tuple[UUID, str | None, str | None]]:
    """Return signal, quantity and price of each order."""
    return [(UUID(each["signal_id"]), each["quantity"], each["price"]) for each in orders]


def filled(broker: Broker) -> list[tuple[str, str]]:
    """Return ticker and shares of each fill."""
    return [(ticker, str(shares)) for ticker, shares in broker.fills]


async def test_a_trade_has_entry_exits_duration_quantity_result_rank_and_source(
    desk: Desk, broker: Broker
) -> None:
    app = await desk.open()
    entry, half, rest = await play(
        desk, app, buy(10, "100.10"), sell(5, "101.3", sentiment="long"), sell(5, "99.95")
    )
    (trade,) = await trades(app)
    assert filled(broker) == [("AAPL", "10"), ("AAPL", "-5"), ("AAPL", "-5")]
    assert trade["quantity"] == "10"
    assert parts(trade["entries"]) == [(entry, "10", "100.10")]
    assert parts(trade["exits"]) == [(half, "5", "101.3"), (rest, "5", "99.95")]
    assert [each["intent"] for each in trade["exits"]] == ["reduce", "close"]
    assert Decimal(trade["result"]) == Decimal("5.25")  # five by 1.20, and five by -0.15
    assert Decimal(trade["entry_price"]) == Decimal("100.1")
    assert Decimal(trade["exit_price"]) == Decimal("100.625")
    assert (trade["ticker"], trade["source"], trade["rank"], trade["list_size"]) == ("AAPL", "default", 1, 3)
    assert (trade["opened_by"], trade["closed_by"]) == (str(entry), str(rest))
    assert (trade["ended"], trade["reason"], trade["confirmed"], trade["stored"]) == ("exit", "", True, True)
    assert 0 < trade["duration_seconds"] < 60
    sums = await ask(app, "GET", "/admin/trades/sums")
    assert sums == {"trades": 1, "gains": 1, "losses": 0, "unknown": 0, "result": trade["result"]}


async def test_adds_are_entries_and_an_order_of_another_trade_is_in_none(desk: Desk, broker: Broker) -> None:
    app = await desk.open()
    first = await play(
        desk, app, buy(10, 10), buy(5, 16, "add"), buy(action="cancel"), sell("20%", 20), sell(price=11)
    )
    second = await play(desk, app, buy(3, 12), sell(price=10))
    other = await play(desk, app, buy(7, 1), sell(price=2), ticker="NVDA")
    newest, later, earlier = await trades(app)
    assert [each["quantity"] for each in (newest, later, earlier)] == ["7", "3", "15"]
    assert parts(newest["entries"]) == [(other[0], "7", "1")]
    assert parts(later["entries"] + later["exits"]) == [(second[0], "3", "12"), (second[1], "3", "10")]
    assert parts(earlier["entries"]) == [(first[0], "10", "10"), (first[1], "5", "16")]
    assert parts(earlier["exits"]) == [(first[3], "3", "20"), (first[4], "12", "11")]
    assert [Decimal(each["result"]) for each in (newest, later, earlier)] == [7, -6, 12]
    assert Decimal(earlier["entry_price"]) == 12
    assert earlier["buys"] == 2
    bought = sum(size for _, size in broker.fills if size > 0)
    assert bought == sum(int(each["quantity"]) for each in (newest, later, earlier)) == 25


async def test_a_reversal_ends_a_trade_and_the_next_entry_begins_one(desk: Desk, broker: Broker) -> None:
    app = await desk.open()
    await play(desk, app, buy(10, 10, sentiment="long"), sell(20, 12, sentiment="short"))
    await play(desk, app, buy(20, 9, sentiment="long"), sell(price=8, sentiment="flat"))
    later, earlier = await trades(app)
    assert (earlier["quantity"], earlier["result"]) == ("10", "20")
    assert parts(earlier["exits"])[0][1:] == ("10", "12")  # what was held, not the sender's 20
    assert (later["quantity"], later["result"]) == ("20", "-20")
    assert filled(broker) == [("AAPL", "10"), ("AAPL", "-10"), ("AAPL", "20"), ("AAPL", "-20")]


@pytest.mark.parametrize(
    ("alerts", "quantity", "entry_price", "exits"),
    [
        ([buy(price=10), sell(price=12)], None, "10", [(None, "12")]),
        ([buy(10), sell(10)], "10", None, [("10", None)]),
        # the bridge may refuse the second
        ([buy(10, 10), buy(10, 11), sell(price=12)], None, None, [(None, "12")]),
        # how the bridge rounds is not known
        ([buy(7, 10), sell("50%", 11), sell(price=12)], None, None, [(None, "11"), (None, "12")]),
        (
            [buy(100, 10, quantityType="dollar_amount"), sell(4, 11, sentiment="long"), sell(price=12)],
            None,
            None,
            [("4", "11"), (None, "12")],
        ),
    ],
)
async def test_an_unknown_value_is_never_0(
    desk: Desk,
    alerts: list[dict[str, Any]],
    quantity: str | None,
    entry_price: str | None,
    exits: list[tuple[str | None, str | None]],
) -> None:
    app = await desk.open()
    await play(desk, app, *alerts)
    (trade,) = await trades(app)
    assert (trade["quantity"], trade["entry_price"]) == (quantity, entry_price)
    assert (trade["result"], trade["exit_price"]) == (None, None)
    assert [each[1:] for each in parts(trade["exits"])] == exits
    assert await ask(app, "GET", "/admin/trades/sums") == {
        "trades": 1, "gains": 0, "losses": 0, "unknown": 1, "result": None,
    }  # fmt: skip
    async with app.http.get("/admin/page/trades", headers=BEARER) as answer:
        assert "unknown" in await answer.text()
    (row,) = await exported(app)
    assert (row["quantity"], row["result"]) == (quantity or "", "")


@pytest.mark.usefixtures("broker")
async def test_two_spellings_are_one_ticker_and_filters_select(desk: Desk) -> None:
    desk.watch("list:AAPL,BRK-B")
    app = await desk.open()
    await play(desk, app, buy(1, 1, ticker="BRK.B"), sell(price=2, ticker="BRK/B"))
    await play(desk, app, buy(1, 1), sell(price=3))
    for spelling in ("BRK.B", "brk-b", "NYSE:BRK/B"):
        (trade,) = await trades(app, ticker=spelling)
        assert (trade["ticker"], trade["quantity"], len(trade["exits"])) == ("BRK-B", "1", 1)
        assert [row["ticker"] for row in await exported(app, ticker=spelling)] == ["BRK-B"]
        assert (await ask(app, "GET", "/admin/trades/sums", ticker=spelling))["result"] == trade["result"]
    newest, oldest = (trade["closed_at"] for trade in await trades(app))

    async def found(**query: str) -> list[str]:
        listed = [trade["ticker"] for trade in await trades(app, **query)]
        assert [row["ticker"] for row in await exported(app, **query)] == listed
        assert (await ask(app, "GET", "/admin/trades/sums", **query))["trades"] == len(listed)
        return listed

    assert await found(**{"from": newest}) == ["AAPL"]
    assert await found(to=newest) == ["BRK-B"]
    assert await found(**{"from": oldest, "to": newest}, ticker="AAPL") == []
    assert await found(source="default") == ["AAPL", "BRK-B"]
    assert await found(source="desk") == []
    assert await found(source="default", ticker="AAPL") == ["AAPL"]


@pytest.mark.usefixtures("broker")
async def test_what_a_person_closed_has_no_result_and_keeps_the_reason(desk: Desk) -> None:
    app = await desk.open()
    await play(desk, app, buy(10, 10), sell(4, 12, sentiment="long"))
    (position,) = (await ask(app, "GET", "/admin/positions"))["positions"]
    reason = '=HYPERLINK("x")'
    await desk.order(app, "order/mark-closed", 200, position_id=position["id"], reason=reason)
    (trade,) = await trades(app)
    assert (trade["ended"], trade["reason"], trade["closed_by"]) == ("marked", reason, None)
    assert (trade["quantity"], trade["result"], trade["exit_price"]) == ("10", None, None)
    assert [each[1] for each in parts(trade["exits"])] == ["4"]
    (row,) = await exported(app)
    assert row["reason"] == f"'{reason}"
    assert tuple(row) == COLUMNS
    assert (row["quantity"], row["entry_price"], row["exits"], row["result"]) == ("10", "10", "1", "")


async def test_a_buy_of_unknown_outcome_that_a_person_confirmed_is_a_trade(desk: Desk) -> None:
    app = await desk.open()
    for answer, quantity, ended, is_confirmed in (
        ("confirm", "10", "exit", True),
        ("dismiss", None, "dismissed", False),
        ("", None, "exit", False),
    ):
        desk.receiver.answer = in_turn(500)
        await desk.until(app, await desk.send(app, "AAPL", "", **buy(10, 10)), "failed")
        (position,) = (await ask(app, "GET", "/admin/positions"))["positions"]
        if answer:
            await desk.order(app, f"positions/{position['id']}/{answer}")
        if answer != "dismiss":
            await play(desk, app, sell(price=11))
        trade = (await trades(app))[0]
        assert (trade["quantity"], trade["ended"], trade["confirmed"]) == (quantity, ended, is_confirmed)
        assert (trade["result"] is None) is not is_confirmed
        assert len(trade["entries"]) == 1
    async with app.http.get("/admin/page/trades", headers=BEARER) as page:
        assert "Not confirmed" in await page.text()


@pytest.mark.usefixtures("broker")
async def test_a_person_s_exit_has_no_price(desk: Desk) -> None:
    app = await desk.open()
    await play(desk, app, buy(10, 10))
    await desk.order(app, "order/sell-all", 202)
    await desk.settled(app)
    (trade,) = await trades(app)
    assert (trade["quantity"], trade["result"]) == ("10", None)
    assert [each[1:] for each in parts(trade["exits"])] == [("10", None)]


@pytest.mark.usefixtures("broker")
async def test_retention_of_the_signals_leaves_what_the_trade_itself_has(desk: Desk) -> None:
    app = await desk.open()
    entry, half, _ = await play(desk, app, buy(10, 10), sell(4, 11, sentiment="long"), sell(price=12))
    (whole,) = await trades(app)
    # a part of the orders is as good as none of them for the quantity
    await desk.database.execute("DELETE FROM signals WHERE id = $1", half)
    (trade,) = await trades(app)
    assert (trade["quantity"], trade["exit_price"], len(trade["exits"]), trade["stored"]) == (
        None,
        None,
        1,
        True,
    )
    await desk.database.execute("DELETE FROM signals")
    (trade,) = await trades(app)
    removed = {"quantity", "exit_price", "source", "rank", "list_size", "stored", "entries", "exits"}
    assert {name for name in whole if whole[name] != trade[name]} == removed
    assert (trade["result"], trade["entry_price"], trade["opened_by"]) == ("16", "10", str(entry))
    assert trade["stored"] is False
    assert await trades(app, source="default") == []
    (row,) = await exported(app)
    assert (row["quantity"], row["exits"], row["result"]) == ("", "", "16")
    async with app.http.get("/admin/page/trades", headers=BEARER) as page:
        assert f"/admin/page/signals/{entry}" not in await page.text()


@pytest.mark.usefixtures("broker")
async def test_history_that_was_imported_is_no_order_of_a_trade(desk: Desk) -> None:
    app = await desk.open()
    await play(desk, app, buy(10, 10), sell(price=12))
    (trade,) = await trades(app)
    await desk.database.execute(
        """INSERT INTO signals (id, status, type, intent, ticker, quantity, status_at, expires_at, body,
                                imported_at)
           SELECT $1, 'forwarded', 'buy', 'add', 'AAPL', 99, opened_at + (closed_at - opened_at) / 2, now(),
                  '{}', now()
           FROM positions""",
        uuid4(),
    )
    assert await trades(app) == [trade]


@pytest.mark.usefixtures("broker")
async def test_a_version_without_quantities_leaves_no_false_result(desk: Desk) -> None:
    """Such a version closes a position and does not change the gain of earlier exits."""
    app = await desk.open()
    await play(desk, app, buy(10, 10), sell(4, 11, sentiment="long"))
    closing = uuid4()
    await desk.database.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body)
           VALUES ($1, 'forwarded', 'sell', 'AAPL', now(), '{}')""",
        closing,
    )
    await desk.database.execute(
        """INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id)
           VALUES ($1, 1, 1, 'd', '', gen_random_uuid())""",
        closing,
    )
    await desk.database.execute(
        """WITH ended AS (
               UPDATE attempts SET ended_at = clock_timestamp(), outcome = 'delivered' WHERE signal_id = $1
           )
           UPDATE positions SET status = 'closed', closed_at = clock_timestamp(), closed_by = $1""",
        closing,
    )
    (trade,) = await trades(app)
    assert (trade["result"], trade["quantity"], trade["entry_price"]) == (None, None, "10")


@pytest.mark.usefixtures("broker")
async def test_more_orders_than_are_read_make_the_quantity_unknown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_ORDERS > 1
    monkeypatch.setattr("app.positions.trades_repository.MOST_ORDERS", 1)
    app = await desk.open()
    await play(desk, app, buy(10, 10), buy(2, 10, "add"), buy(3, 10, "add"), sell(price=11))
    (trade,) = await trades(app)
    assert (trade["quantity"], trade["result"]) == (None, "15")


async def test_pages_of_trades_of_one_moment_are_whole_and_in_order(desk: Desk) -> None:
    app = await desk.open()
    await desk.database.execute(_HISTORY, 300)
    whole = [trade["id"] for trade in await trades(app, limit=500)]
    rows = await desk.database.fetch("SELECT id FROM positions ORDER BY closed_at DESC, id DESC")
    assert whole == [str(row["id"]) for row in rows]
    assert [trade["id"] for trade in await trades(app, limit=7)] == whole
    one = [trade["id"] for trade in await trades(app, limit=1, ticker="T7")]
    assert len(one) == 3
    assert one == [trade["id"] for trade in await trades(app, limit=3, ticker="t7")]
    assert [row["id"] for row in await exported(app)] == whole
    sums = await ask(app, "GET", "/admin/trades/sums")
    assert sums == {"trades": 300, "gains": 150, "losses": 75, "unknown": 75, "result": "22.5"}


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "1"}, {"cursor": "1-" + "g" * 32}, {"cursor": "9" * 18 + "-" + "0" * 32}, {"limit": 501},
        {"from": "yesterday"}, {"from": "2026-11-22"}, {"to": "2026-11-22T00:00:00"},
        {"to": "0001-01-01T00:00:00+01:00"}, {"ticker": ""}, {"source": ""},
    ],
    ids=str,
)  # fmt: skip
async def test_an_invalid_query_is_refused(app_server: AppServer, query: dict[str, str]) -> None:
    await ask(app_server, "GET", "/admin/trades", 422, **query)
    if "cursor" not in query and "limit" not in query:
        await ask(app_server, "GET", "/admin/trades/export", 422, **query)
        await ask(app_server, "GET", "/admin/trades/sums", 422, **query)


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-13-01", "to": "soon", "cursor": "x", "ticker": "\0", "source": "\0"},
        {"to": "9999-12-31"}, {"from": "0001-01-01", "to": "0001-01-01"},
    ],
    ids=str,
)  # fmt: skip
async def test_the_page_ignores_filters_that_are_not_valid(
    app_server: AppServer, query: dict[str, str]
) -> None:
    async with app_server.http.get("/admin/page/trades", params=query, headers=BEARER) as answer:
        assert answer.status == 200
        assert "No trade" in await answer.text()


@pytest_asyncio.fixture
async def many(desk: Desk) -> AppServer:
    """Start an application on 20,000 trades and as many delivered signals."""
    await desk.database.execute(_HISTORY, 20_000)
    await desk.database.execute(
        """INSERT INTO signals (id, status, type, intent, ticker, expires_at, status_at, body)
           SELECT gen_random_uuid(), 'forwarded', 'buy', 'open', 'T' || n % 100, now(),
                  now() - make_interval(secs => n), '{}' FROM generate_series(1, 20000) AS n"""
    )
    return await desk.open()


async def test_a_page_reads_only_its_rows(desk: Desk, many: AppServer) -> None:
    """Rows are counted, not seconds, in both kinds of plan and whatever the statistics say."""
    statements = load("app.positions", "trades")
    middle = await desk.database.fetchrow(
        "SELECT closed_at, id FROM positions ORDER BY closed_at DESC OFFSET 10000 LIMIT 1"
    )
    assert middle is not None
    for analyzed in ("", "ANALYZE"):
        if analyzed:
            await desk.database.execute(analyzed)
        for mode in ("force_generic_plan", "force_custom_plan"):
            async with desk.database.acquire() as connection:
                await connection.execute(f"SET plan_cache_mode = {mode}")
                for name in ("trades", "orders_of_trades"):
                    await connection.execute(f"PREPARE {name} AS {statements[name]}")
                before = f"'{middle['closed_at'].isoformat()}', '{middle['id']}'"
                for ticker in ("NULL", "'T7'"):
                    for start in ("NULL, NULL", before):
                        arguments = f"{ticker}, NULL, NULL, NULL, {start}, 51"
                        assert await rows_read(connection, "trades", arguments) < 1_000, (mode, arguments)
                page = await connection.fetchval(
                    """SELECT array_agg(id)::text
                       FROM (SELECT id FROM positions ORDER BY closed_at DESC LIMIT 50) AS page"""
                )
                assert await rows_read(connection, "orders_of_trades", f"'{page}', 200") < 2_000, mode
                for name in ("trades", "orders_of_trades"):
                    await connection.execute(f"DEALLOCATE {name}")
    assert len(await exported(many, ticker="T7")) == 200
    assert len(await exported(many)) == 20_000
