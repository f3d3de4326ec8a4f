"""A sell that is about to expire, or has expired, is an alarm until a person or a delivery ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from tests.api.operator import alarms, ask
from tests.api.trading.receiver import always, take

if TYPE_CHECKING:
    from uuid import UUID

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk


async def until_counted(desk: Desk, app: AppServer, state: str, count: int) -> None:
    """Wait until the metric has this value, and assert that `/health` agrees."""

    async def counted() -> bool:
        return REGISTRY.get_sample_value("sells_at_risk", {"state": state}) == count

    await desk.wait(app, counted, lambda: f"sells_at_risk {state} is not {count}")
    async with app.http.get("/health") as answer:
        check = (await answer.json())["checks"]["sells"]
        assert (answer.status, check["status"]) == (200, "degraded" if count else "ok")


async def stuck_sell(desk: Desk, app: AppServer) -> UUID:
    """Send a sell of an open position that the destination does not accept."""
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = always(503)
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell, "approved", "forwarding")
    assert await alarms(app) == set()
    return sell


async def test_the_last_tenth_of_its_age_is_an_alarm(desk: Desk) -> None:
    app = await desk.open()
    sell = await stuck_sell(desk, app)
    await desk.database.execute(
        """UPDATE signals SET received_at = now() - interval '3300 seconds',
                              expires_at = now() + interval '300 seconds' WHERE id = $1""",
        sell,
    )
    assert await alarms(app) == {"sells_late", "exits_waiting"}
    await until_counted(desk, app, "late", 1)
    desk.receiver.answer = take
    await desk.until(app, sell, "forwarded")
    await until_counted(desk, app, "late", 0)
    assert await alarms(app) == set()


@pytest.mark.parametrize("way_out", ["mark closed", "sell", "replay"])
async def test_an_expired_sell_is_an_alarm_while_its_position_is_open(desk: Desk, way_out: str) -> None:
    app = await desk.open()
    sell = await stuck_sell(desk, app)
    await desk.database.execute("UPDATE signals SET expires_at = now() WHERE id = $1", sell)
    await desk.until(app, sell, "expired")
    assert "sells_expired" in await alarms(app)
    await until_counted(desk, app, "expired", 1)
    assert await desk.open_positions() == {"AAPL": 1}
    desk.receiver.answer = take
    position = str(await desk.database.fetchval("SELECT id FROM positions"))
    match way_out:
        case "mark closed":
            await desk.order(app, "order/mark-closed", position_id=position, reason="by telephone")
        case "sell":
            await desk.order(app, "order/close-position", 202, position_id=position)
        case _:
            await desk.database.execute(
                "UPDATE signals SET received_at = now() - interval '9 days' WHERE id = $1", sell
            )
            desk.receiver.answer = always(503)
            await desk.order(app, "dead-letters/replay", ids=[str(sell)], confirm=1)
            await until_counted(desk, app, "expired", 0)
            assert await alarms(app) == set()  # its age restarted
            desk.receiver.answer = take
    await desk.settled(app)
    await until_counted(desk, app, "expired", 0)
    assert await desk.open_positions() == {}
    assert await alarms(app) == set()


async def test_an_alert_that_may_have_been_an_exit_is_an_alarm_while_its_position_is_open(desk: Desk) -> None:
    app = await desk.open()
    assert (await desk.until(app, await desk.send(app, "AAPL", "hold")))["status"] == "rejected"
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    await desk.until(app, await desk.send(app, "AAPL", "short"), "rejected")
    await desk.until(app, await desk.send(app, "NVDA", "hold"), "rejected")
    assert await alarms(app) == set()  # before its buy; no exit; nothing open
    await desk.until(app, await desk.send(app, "AAPL", "get out"), "rejected")
    assert await alarms(app) == {"alerts_unread"}
    await until_counted(desk, app, "unread", 1)
    (position,) = (await ask(app, "GET", "/admin/positions"))["positions"]
    await desk.order(app, "order/mark-closed", position_id=position["id"], reason="by telephone")
    assert await alarms(app) == set()
