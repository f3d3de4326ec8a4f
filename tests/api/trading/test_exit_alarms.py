"""An exit that did not get through is an alarm, until a later one does or a person settles it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY

from tests.api.operator import BEARER, ask, log_of
from tests.api.trading.receiver import always, take

if TYPE_CHECKING:
    from uuid import UUID

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

BACKDATE = "UPDATE signals SET received_at = received_at - make_interval(secs => $2) WHERE id = $1"


async def alarms(app: AppServer) -> dict[str, Any]:
    """Return the alarms that the page shows, by code."""
    return {alarm["code"]: alarm for alarm in (await ask(app, "GET", "/admin/status"))["alarms"]}


async def until_degraded(desk: Desk, app: AppServer, reason: str) -> None:
    """Wait until `/health` has this status; it is public, so it names no ticker."""
    found = list[str]()

    async def said() -> bool:
        async with app.http.get("/health") as answer:
            found[:] = [(await answer.json())["checks"]["sells"].get("reason", "")]
        return found == [reason]

    await desk.wait(app, said, lambda: f"/health says {found}")
    assert "AAPL" not in reason


async def until_counted(desk: Desk, app: AppServer, state: str, count: int) -> None:
    """Wait until the metric has this value."""

    async def counted() -> bool:
        return REGISTRY.get_sample_value("sells_at_risk", {"state": state}) == count

    await desk.wait(app, counted, lambda: f"sells_at_risk {state} is not {count}")


async def bought(desk: Desk, app: AppServer) -> None:
    """Open a position of AAPL."""
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")


async def settle(desk: Desk, app: AppServer, alarm: dict[str, Any]) -> None:
    """Settle an alarm as the page does."""
    body = {"code": alarm["code"], "subject": alarm["subject"], "until": alarm["settle_until"]}
    assert await desk.order(app, "alarms/acknowledge", **body) == body


async def shown(app: AppServer) -> str:
    """Return the page's alarms, as first rendered."""
    async with app.http.get("/admin", headers=BEARER) as answer:
        page = await answer.text()
    return page.partition('<ul id="alarms"')[2].partition("</ul>")[0]


class TestWaiting:
    """An exit that is not delivered 30 s after its alert, whatever it waits for."""

    async def waiting(self, desk: Desk, app: AppServer, *, seconds: int = 31) -> UUID:
        """Send an exit of so many seconds ago."""
        sell = await desk.send(app, "AAPL", "sell")
        await desk.until(app, sell, "approved", "forwarding")
        await desk.database.execute(BACKDATE, sell, seconds)
        return sell

    async def test_behind_a_pause(self, desk: Desk) -> None:
        app = await desk.open()
        await bought(desk, app)
        await desk.order(app, "delivery/pause")
        sell = await self.waiting(desk, app)
        found = await alarms(app)
        assert found.keys() == {"exits_waiting", "delivery_paused"}
        alarm = found["exits_waiting"]
        assert (alarm["subject"], alarm["severity"]) == ("AAPL", "critical")
        assert alarm["text"] == "AAPL: exits not delivered 30 s after their alerts: 1."
        assert "pause" in alarm["action"]
        received = (await desk.signal(sell))["received_at"]
        assert alarm["since"] == received.isoformat().replace("+00:00", "Z")
        await until_degraded(desk, app, "1 exits were not delivered within 30 s")
        await until_counted(desk, app, "waiting", 1)
        await desk.order(app, "delivery/resume")
        await desk.until(app, sell, "forwarded")
        assert await alarms(app) == {}
        await until_counted(desk, app, "waiting", 0)

    async def test_behind_a_destination_that_does_not_accept_it(self, desk: Desk) -> None:
        app = await desk.open()
        await bought(desk, app)
        desk.receiver.answer = always(503)
        sell = await self.waiting(desk, app)
        assert "exits_waiting" in await alarms(app)
        desk.receiver.answer = take
        await desk.until(app, sell, "forwarded")
        assert "exits_waiting" not in await alarms(app)

    async def test_behind_an_entry_that_waits_for_a_list(self, desk: Desk) -> None:
        desk.watch("https://127.0.0.1/screener.ashx?v=111")  # never answers
        app = await desk.open()
        await desk.send(app, "AAPL", "buy")
        part = await desk.send(app, "AAPL", "sell", quantity=5, sentiment="long")  # a whole one ends the buy
        await desk.database.execute(BACKDATE, part, 31)
        assert "exits_waiting" in await alarms(app)

    async def test_not_before_30_seconds_and_not_once_a_person_has_closed_the_position(
        self, desk: Desk
    ) -> None:
        app = await desk.open()
        await bought(desk, app)
        await desk.order(app, "delivery/pause")
        sell = await self.waiting(desk, app, seconds=20)
        assert (await alarms(app)).keys() == {"delivery_paused"}
        await desk.database.execute(BACKDATE, sell, 20)
        assert "exits_waiting" in await alarms(app)
        (position,) = (await ask(app, "GET", "/admin/positions"))["positions"]
        await desk.order(app, "order/mark-closed", position_id=position["id"], reason="by telephone")
        assert (await alarms(app)).keys() == {"delivery_paused"}


class TestSwallowed:
    """A swallowed exit: an equal partial exit counted as a resend, and the first closed no position."""

    ALERT = b'{"ticker": "AAPL", "action": "sell", "quantity": 5, "sentiment": "long"}'

    async def post(self, app: AppServer, body: bytes = ALERT) -> None:
        async with app.http.post("/webhook/in", data=body) as answer:
            assert answer.status == 202

    async def swallowed(self, desk: Desk) -> AppServer:
        """Open a position, and post the same partial exit twice."""
        app = await desk.open()
        await bought(desk, app)
        for _ in range(2):
            await self.post(app)
            await desk.settled(app)
        return app

    async def test_it_is_an_alarm_until_a_later_exit_is_delivered(self, desk: Desk) -> None:
        app = await self.swallowed(desk)
        found = await alarms(app)
        assert found.keys() == {"exits_swallowed"}
        assert found["exits_swallowed"]["subject"] == "AAPL"
        assert found["exits_swallowed"]["position_id"]
        await until_degraded(desk, app, "1 partial exits were taken for duplicates and not executed")
        await until_counted(desk, app, "swallowed", 1)
        await desk.until(app, await desk.send(app, "AAPL", "sell", quantity=5, sentiment="long"), "forwarded")
        assert await alarms(app) == {}

    async def test_a_person_settles_it_for_what_has_happened_so_far(self, desk: Desk) -> None:
        app = await self.swallowed(desk)
        assert 'data-send="/admin/alarms/acknowledge"' in await shown(app)
        assert 'data-send="/admin/order/close-position"' in await shown(app)
        await settle(desk, app, (await alarms(app))["exits_swallowed"])
        assert await alarms(app) == {}
        assert "data-send" not in await shown(app)
        assert (await log_of(app))[-1][2:4] == ("alarm.settle", "exits_swallowed AAPL")
        await self.post(app)
        assert (await alarms(app)).keys() == {"exits_swallowed"}

    async def test_what_has_not_happened_yet_cannot_be_settled(self, desk: Desk) -> None:
        app = await self.swallowed(desk)
        alarm = (await alarms(app))["exits_swallowed"]
        await settle(desk, app, {**alarm, "settle_until": "2099-01-01T00:00:00Z"})
        assert await alarms(app) == {}
        await self.post(app)
        assert (await alarms(app)).keys() == {"exits_swallowed"}

    async def test_it_is_none_if_the_first_one_closed_the_position(self, desk: Desk) -> None:
        desk.configure("system", partial_exits="close")
        app = await desk.open()
        await bought(desk, app)
        whole = b'{"ticker": "AAPL", "action": "sell", "quantity": 5}'
        for _ in range(2):
            await self.post(app, whole)
            await desk.settled(app)
        assert await alarms(app) == {}


class TestEntryAfterExit:
    """A position opened within 120 s after an exit that found none: the alerts arrived in the wrong order."""

    async def wrong_way_round(self, desk: Desk, seconds_between: int = 0) -> AppServer:
        app = await desk.open()
        sell = await desk.send(app, "AAPL", "sell")
        await desk.until(app, sell, "rejected")
        await desk.database.execute(BACKDATE, sell, seconds_between)
        await bought(desk, app)
        return app

    async def test_it_is_an_alarm_until_the_position_is_closed(self, desk: Desk) -> None:
        app = await self.wrong_way_round(desk)
        found = await alarms(app)
        assert found.keys() == {"entries_after_exit"}
        await until_degraded(desk, app, "1 positions were opened just after an exit that found none")
        position = found["entries_after_exit"]["position_id"]
        await desk.order(app, "order/close-position", 202, position_id=position)
        await desk.settled(app)
        assert await alarms(app) == {}

    async def test_a_person_settles_it(self, desk: Desk) -> None:
        app = await self.wrong_way_round(desk)
        await settle(desk, app, (await alarms(app))["entries_after_exit"])
        assert await alarms(app) == {}
        assert await desk.open_positions() == {"AAPL": 1}

    async def test_it_is_none_after_120_seconds(self, desk: Desk) -> None:
        assert await alarms(await self.wrong_way_round(desk, seconds_between=130)) == {}


class TestRefusedInARow:
    """Three orders that the destination refuses with 400 or 422, and none delivered since."""

    async def send(self, desk: Desk, app: AppServer, *tickers: str) -> None:
        for ticker in tickers:
            await desk.until(app, await desk.send(app, ticker, "buy"))

    @pytest.mark.parametrize("status", [400, 422])
    async def test_it_is_an_alarm_until_one_is_delivered(self, desk: Desk, status: int) -> None:
        app = await desk.open()
        desk.receiver.answer = always(status)
        await self.send(desk, app, "AAPL", "NVDA")
        assert await alarms(app) == {}
        await self.send(desk, app, "TSLA")
        assert (await alarms(app)).keys() == {"orders_refused"}
        await until_degraded(desk, app, "3 orders in a row were refused by the destination")
        desk.receiver.answer = take
        await self.send(desk, app, "AAPL")
        assert await alarms(app) == {}

    async def test_a_person_settles_it_until_three_more_are_refused(self, desk: Desk) -> None:
        app = await desk.open()
        desk.receiver.answer = always(400)
        await self.send(desk, app, "AAPL", "NVDA", "TSLA")
        await settle(desk, app, (await alarms(app))["orders_refused"])
        await self.send(desk, app, "AAPL", "NVDA")
        assert await alarms(app) == {}
        await self.send(desk, app, "TSLA")
        assert (await alarms(app)).keys() == {"orders_refused"}

    async def test_a_settlement_of_a_ticker_is_not_one_of_all_orders(self, desk: Desk) -> None:
        app = await desk.open()
        desk.receiver.answer = always(400)
        await desk.database.execute(
            "INSERT INTO settled_alarms SELECT 'orders_refused', unnest(ARRAY['', 'AAPL']), now()"
        )
        await self.send(desk, app, "AAPL", "NVDA", "TSLA")
        assert (await alarms(app)).keys() == {"orders_refused"}


class TestUnmatched:
    """An exit without a position that is forwarded nevertheless."""

    async def test_it_is_an_alarm_once_it_has_failed_until_a_person_settles_it(self, desk: Desk) -> None:
        desk.configure("system", unmatched_exits="forward")
        app = await desk.open()
        desk.receiver.answer = always(404)
        await desk.until(app, await desk.send(app, "AAPL", "sell"), "failed")
        found = await alarms(app)
        assert found.keys() == {"sells_failed"}
        await settle(desk, app, found["sells_failed"])
        assert await alarms(app) == {}

    async def test_it_is_an_alarm_while_it_waits(self, desk: Desk) -> None:
        desk.configure("system", unmatched_exits="forward")
        app = await desk.open()
        await desk.order(app, "delivery/pause")
        sell = await desk.send(app, "AAPL", "sell")
        await desk.until(app, sell, "approved")
        assert (await alarms(app)).keys() == {"delivery_paused"}
        await desk.database.execute(BACKDATE, sell, 31)
        assert (await alarms(app)).keys() == {"delivery_paused", "exits_waiting"}


async def test_a_failed_exit_is_settled_and_is_an_alarm_again_when_it_fails_again(desk: Desk) -> None:
    app = await desk.open()
    await bought(desk, app)
    desk.receiver.answer = always(404)
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell, "failed")
    await settle(desk, app, (await alarms(app))["sells_failed"])
    assert await alarms(app) == {}
    await desk.order(app, "dead-letters/replay", ids=[str(sell)], confirm=1)
    await desk.until(app, sell, "failed")
    assert (await alarms(app)).keys() == {"sells_failed"}


@pytest.mark.parametrize(
    "body",
    [
        {"code": "exits_waiting", "subject": "AAPL", "until": "2026-11-29T10:00:00Z"},
        {"code": "sells_failed", "subject": "A\0", "until": "2026-11-29T10:00:00Z"},
        {"code": "sells_failed", "subject": "AAPL", "until": "2026-11-29T10:00:00"},
        {"code": "sells_failed", "subject": "AAPL"},
        {"code": "sells_failed", "subject": "", "until": "2026-11-29T10:00:00Z"},
        {"code": "orders_refused", "subject": "AAPL", "until": "2026-11-29T10:00:00Z"},
        {"code": "sells_failed", "subject": "AAPL", "until": "0001-01-01T00:00:00+23:59"},
        {"code": "sells_failed", "subject": "AAPL", "until": "9999-12-31T23:59:59-23:59"},
    ],
)
async def test_what_cannot_be_settled_is_refused(app_server: AppServer, body: dict[str, str]) -> None:
    await ask(app_server, "POST", "/admin/alarms/acknowledge", 422, body=body)
