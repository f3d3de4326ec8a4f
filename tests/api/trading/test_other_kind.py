"""Open positions of a destination that was live and is on paper, or the reverse, are an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from app.alarms.conditions import kind_alarms
from app.alarms.repository import OtherKind, read_other_kind
from app.config.destinations import TICKERS_SHOWN
from app.ops import retention
from app.orders.destination import destination_of
from tests.api.operator import ask, health
from tests.api.trading.receiver import always
from tests.api.trading.test_destinations import live, opened, orders_of

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Receiver

__all__ = ["live"]  # the fixture

NOW_PAPER, NOW_LIVE = "destination_now_paper", "destination_now_live"
REPLAY = "dead-letters/replay"


async def restarted(desk: Desk, app: AppServer, *, live: bool) -> AppServer:
    """Start the application again, with DEST_WEBHOOK_URL or without it."""
    app.stop()
    return await desk.open(live=live)


async def found(app: AppServer) -> dict[str, dict[str, Any]]:
    """Return these alarms by the name of their destination."""
    listed = (await ask(app, "GET", "/admin/status"))["alarms"]
    return {each["subject"]: each for each in listed if each["code"] in {NOW_PAPER, NOW_LIVE}}


async def codes(app: AppServer) -> dict[str, str]:
    """Return the codes of these alarms by the name of their destination."""
    return {name: each["code"] for name, each in (await found(app)).items()}


async def trade(desk: Desk, app: AppServer, ticker: str, side: str, **fields: Any) -> None:
    """Send an alert that is delivered."""
    await desk.until(app, await desk.send(app, ticker, side, **fields), "forwarded")


async def mark_closed(desk: Desk, app: AppServer, *tickers: str) -> None:
    """Mark the positions of these tickers closed, at each destination."""
    for each in (await ask(app, "GET", "/admin/positions"))["positions"]:
        if each["ticker"] in tickers:
            await desk.order(app, "order/mark-closed", position_id=each["id"], reason="at the broker")


async def adopt(app: AppServer, ticker: str, destination: str = "default") -> None:
    """Record a position that is open at the broker."""
    given = {"ticker": ticker, "destination": destination, "quantity": 5, "price": "10"}
    await ask(app, "POST", "/admin/positions/adopt", 201, given)


async def until_degraded(desk: Desk, app: AppServer, reason: str) -> None:
    """Wait until `/health` says this of the exits; empty: nothing."""
    said = list[str]()

    async def is_said() -> bool:
        said[:] = [(await health(app))[1]["sells"].get("reason", "")]
        return said == [reason]

    await desk.wait(app, is_said, lambda: f"/health says {said}")


async def on_paper(desk: Desk) -> int:
    """Return how many orders were delivered on paper."""
    count: int = await desk.database.fetchval("SELECT count(*) FROM paper_deliveries")
    return count


class TestEmptiedUrl:
    """DEST_WEBHOOK_URL is emptied while positions are open at the broker."""

    @pytest.mark.usefixtures("hurried")
    async def test_it_is_an_alarm_until_the_positions_are_closed(self, desk: Desk) -> None:
        app = await desk.open()
        for ticker in ("NVDA", "AAPL"):
            await trade(desk, app, ticker, "buy")
        assert await codes(app) == {}
        app = await restarted(desk, app, live=False)
        alarm = (await found(app))["default"]
        assert (alarm["code"], alarm["severity"]) == (NOW_PAPER, "critical")
        assert alarm["text"] == (
            "default: this destination is on paper now and has open positions that were opened at its "
            "broker: 2 (AAPL, NVDA). Their exits reach no broker."
        )
        assert "mark them closed" in alarm["action"]
        what = "destinations are on paper now and have positions opened at their broker"
        await until_degraded(desk, app, f"1 {what}")
        await trade(desk, app, "TSLA", "buy")
        await mark_closed(desk, app, "NVDA")
        assert "1 (AAPL)" in (await found(app))["default"]["text"]
        await mark_closed(desk, app, "AAPL")
        assert await codes(app) == {}
        await until_degraded(desk, app, "")
        assert set(await desk.open_positions()) == {"TSLA"}

    async def test_it_is_none_once_the_url_is_back(self, desk: Desk) -> None:
        app = await desk.open()
        await trade(desk, app, "AAPL", "buy")
        app = await restarted(desk, app, live=False)
        assert await codes(app) == {"default": NOW_PAPER}
        app = await restarted(desk, app, live=True)
        assert await codes(app) == {}
        await trade(desk, app, "AAPL", "exit")
        assert [got.alert["action"] for got in desk.receiver.received] == ["buy", "exit"]

    async def test_what_is_bought_and_sold_on_paper_meanwhile_counts_where_it_was_opened(
        self, desk: Desk
    ) -> None:
        app = await desk.open()
        await trade(desk, app, "AAPL", "buy", quantity=10)
        app = await restarted(desk, app, live=False)
        await trade(desk, app, "AAPL", "sell", quantity=4, sentiment="long")
        await trade(desk, app, "NVDA", "buy")
        assert "1 (AAPL)" in (await found(app))["default"]["text"]
        app = await restarted(desk, app, live=True)
        alarm = (await found(app))["default"]
        assert alarm["code"] == NOW_LIVE
        assert "1 (NVDA)" in alarm["text"]

    async def test_a_position_that_is_closed_and_opened_again_is_on_paper(self, desk: Desk) -> None:
        app = await desk.open()
        await trade(desk, app, "AAPL", "buy")
        await trade(desk, app, "AAPL", "exit")
        await trade(desk, app, "NVDA", "buy")
        app = await restarted(desk, app, live=False)
        await mark_closed(desk, app, "NVDA")
        for ticker in ("AAPL", "NVDA"):
            await trade(desk, app, ticker, "buy")
        assert await codes(app) == {}
        app = await restarted(desk, app, live=True)
        assert "2 (AAPL, NVDA)" in (await found(app))["default"]["text"]

    async def test_a_buy_that_may_have_reached_the_broker_is_live(self, desk: Desk) -> None:
        """It is replayed on paper: into the same position it stays live; after a dismissal it is not."""
        app = await desk.open()
        desk.receiver.answer = always(500)
        buys = [await desk.send(app, ticker, "buy") for ticker in ("AAPL", "NVDA")]
        for buy in buys:
            assert (await desk.until(app, buy))["status"] == "failed"
        for each in (await ask(app, "GET", "/admin/positions"))["positions"]:
            if each["ticker"] == "NVDA":
                await desk.order(app, f"positions/{each['id']}/dismiss")
        app = await restarted(desk, app, live=False)
        assert "1 (AAPL)" in (await found(app))["default"]["text"]
        await desk.order(app, REPLAY, ids=[str(each) for each in buys], confirm=2)
        for buy in buys:
            await desk.until(app, buy, "forwarded")
        assert set(await desk.open_positions()) == {"AAPL", "NVDA"}
        assert "1 (AAPL)" in (await found(app))["default"]["text"]

    async def test_a_buy_that_the_broker_did_not_accept_is_on_paper(self, desk: Desk) -> None:
        desk.configure("webhook", retry_seconds=[0.1])
        app = await desk.open()
        desk.receiver.answer = always(503)
        buy = await desk.send(app, "AAPL", "buy")

        async def is_attempted() -> bool:
            return await desk.has_ended_attempt(buy)

        await desk.wait(app, is_attempted, lambda: "nothing was sent")
        app = await restarted(desk, app, live=False)
        await desk.until(app, buy, "forwarded")
        assert await codes(app) == {}


class TestNewUrl:
    """DEST_WEBHOOK_URL is set while positions on paper are open."""

    async def test_it_is_an_alarm_until_the_positions_are_closed(self, desk: Desk) -> None:
        app = await desk.open(live=False)
        await trade(desk, app, "AAPL", "buy")
        assert await codes(app) == {}
        app = await restarted(desk, app, live=True)
        alarm = (await found(app))["default"]
        assert (alarm["code"], alarm["severity"]) == (NOW_LIVE, "critical")
        assert alarm["text"] == (
            "default: this destination is live now and has open positions that were opened on paper: "
            "1 (AAPL). Their exits would go to a broker that does not hold them."
        )
        what = "destinations are live now and have positions opened on paper"
        await until_degraded(desk, app, f"1 {what}")
        await trade(desk, app, "NVDA", "buy")
        assert "1 (AAPL)" in (await found(app))["default"]["text"]
        await trade(desk, app, "AAPL", "exit")  # it is not held
        assert await codes(app) == {}
        assert await on_paper(desk) == 1

    async def test_what_is_added_at_the_broker_makes_it_live(self, desk: Desk) -> None:
        desk.configure("system", duplicate_buys="add")
        app = await desk.open(live=False)
        await trade(desk, app, "AAPL", "buy")
        app = await restarted(desk, app, live=True)
        assert await codes(app) == {"default": NOW_LIVE}
        await trade(desk, app, "AAPL", "buy")
        assert await codes(app) == {}
        app = await restarted(desk, app, live=False)
        assert await codes(app) == {"default": NOW_PAPER}


class TestUnknownEntry:
    """Of a position whose entry is not known nothing is said, until something is added to it."""

    @pytest.mark.parametrize("was_live", [True, False])
    async def test_a_recorded_position(self, desk: Desk, *, was_live: bool) -> None:
        desk.configure("system", duplicate_buys="add")
        app = await desk.open(live=was_live)
        await adopt(app, "AAPL")
        await adopt(app, "NVDA")
        await trade(desk, app, "NVDA", "buy")
        app = await restarted(desk, app, live=not was_live)
        alarm = (await found(app))["default"]
        assert alarm["code"] == (NOW_PAPER if was_live else NOW_LIVE)
        assert "1 (NVDA)" in alarm["text"]

    async def test_one_that_an_import_has_adopted(self, desk: Desk) -> None:
        """The signal that opened it is imported history of the same id; the replaced system sent it."""
        app = await desk.open()
        await desk.database.execute(
            """WITH old AS (
                   INSERT INTO signals (id, status, type, ticker, expires_at, body, imported_at)
                   VALUES (gen_random_uuid(), 'forwarded', 'buy', 'AAPL', now(), '{}', now()) RETURNING id
               )
               INSERT INTO positions (ticker, opened_by, buys, confirmed, opened_at)
               SELECT 'AAPL', id, 0, false, now() - interval '1 day' FROM old"""
        )
        for is_live in (False, True):
            app = await restarted(desk, app, live=is_live)
            assert await codes(app) == {}

    async def test_one_whose_entry_is_older_than_the_retention(self, desk: Desk) -> None:
        app = await desk.open()
        await trade(desk, app, "AAPL", "buy")
        await desk.database.execute("UPDATE signals SET received_at = now() - interval '9 days'")
        await desk.database.execute("UPDATE signals SET status_at = received_at")
        app = await restarted(desk, app, live=False)
        assert await codes(app) == {"default": NOW_PAPER}
        await retention.sweep(app.context.pool, 7, beat=lambda: None)
        assert await codes(app) == {}
        assert set(await desk.open_positions()) == {"AAPL"}


async def test_each_destination_is_judged_by_what_was_sent_to_it(desk: Desk, live: Receiver) -> None:
    """`default` becomes paper and `trial` live, while `live` stays what it is."""
    app = await opened(desk, live, {"name": "trial"})
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "forwarded")
    assert await orders_of(desk, buy) == dict.fromkeys(("default", "live", "trial"), "delivered")
    assert await codes(app) == {}
    app.stop()
    entry = {"name": "live", "url": live.url, "ticker_gap_seconds": 0}
    trial = {"name": "trial", "url": f"{live.url}/trial", "ticker_gap_seconds": 0}
    desk.configure("webhook", destinations=[entry, trial])
    app = await desk.open(live=False)
    assert await codes(app) == {"default": NOW_PAPER, "trial": NOW_LIVE}
    await desk.order(app, "order/sell-all", 202)
    await desk.settled(app)
    assert await codes(app) == {}


async def test_what_was_added_at_one_of_several_destinations_counts_there(desk: Desk, live: Receiver) -> None:
    """The order that is added fails at `default`, so its signal has failed."""
    desk.configure("system", duplicate_buys="add")
    app = await opened(desk, live)
    for name in ("default", "live"):
        await adopt(app, "AAPL", name)
    desk.receiver.answer = always(404)
    buy = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, buy))["status"] == "failed"
    assert await orders_of(desk, buy) == {"default": "failed", "live": "delivered"}
    assert await if_on_paper(app) == [OtherKind("live", is_paper=True, positions=1, tickers=["AAPL"])]


async def test_of_many_positions_the_first_tickers_are_named(desk: Desk) -> None:
    app = await desk.open()
    await desk.database.execute(
        """WITH bought AS (
               INSERT INTO signals (id, status, type, ticker, expires_at, body)
               SELECT gen_random_uuid(), 'forwarded', 'buy', 'T' || n, now(), '{}'
               FROM generate_series(10, 24) AS n
               RETURNING id, ticker
           ), attempted AS (
               INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, ended_at,
                                     outcome)
               SELECT id, 1, 1, $1, '', id, now(), 'delivered' FROM bought
           )
           INSERT INTO positions (ticker, opened_by) SELECT ticker, id FROM bought""",
        destination_of(desk.receiver.url).key,
    )
    (found_now,) = await if_on_paper(app)
    assert (found_now.positions, len(found_now.tickers)) == (15, TICKERS_SHOWN + 1)
    (alarm,) = kind_alarms([found_now])
    assert "15 (T10, T11, T12, T13, T14, T15, T16, T17, T18, T19, …)." in alarm.text


async def if_on_paper(app: AppServer) -> list[OtherKind]:
    """Return what would be found if every destination were on paper now."""
    destinations = [structs.replace(each, url=None) for each in app.context.config.destinations]
    async with app.context.pool.acquire() as connection:
        return await read_other_kind(connection, destinations=destinations)
