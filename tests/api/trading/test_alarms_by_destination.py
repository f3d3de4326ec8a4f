"""An exit that does not get through at one of several destinations is an alarm that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tests.api.operator import ask
from tests.api.trading.receiver import always, take
from tests.api.trading.test_destinations import live, opened, orders_of
from tests.api.trading.test_exit_alarms import BACKDATE, settle

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Receiver

__all__ = ["live"]  # the fixture

LIVE = "AAPL (live)"


async def alarms(app: AppServer) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the alarms by code and subject."""
    return {
        (each["code"], each["subject"]): each for each in (await ask(app, "GET", "/admin/status"))["alarms"]
    }


async def sell_by_hand(desk: Desk, app: AppServer) -> dict[str, UUID]:
    """Sell a ticker as a person, and return the signals by destination."""
    placed = await desk.order(app, "order/sell-individual", 202, ticker="AAPL")
    return {each["destination"]: UUID(each["signal_id"]) for each in placed["orders"]}


async def test_a_sell_that_one_of_two_destinations_does_not_answer(desk: Desk, live: Receiver) -> None:
    """A person placed it for both, without a position: it waits at one, and then fails there."""
    app = await opened(desk, live)
    live.answer = always(503)
    placed = await sell_by_hand(desk, app)
    assert placed.keys() == {"default", "live"}
    await desk.until(app, placed["default"], "forwarded")
    await desk.until(app, placed["live"], "approved", "forwarding")
    assert await alarms(app) == {}
    await desk.database.execute(BACKDATE, placed["live"], 31)
    waiting = await alarms(app)
    assert waiting.keys() == {("exits_waiting", LIVE)}
    assert (
        waiting["exits_waiting", LIVE]["text"] == f"{LIVE}: exits not delivered 30 s after their alerts: 1."
    )
    live.answer = always(404)
    await desk.until(app, placed["live"], "failed")
    failed = await alarms(app)
    assert failed.keys() == {("sells_failed", LIVE)}
    assert failed["sells_failed", LIVE]["position_id"] is None
    await settle(desk, app, failed["sells_failed", LIVE])
    assert await alarms(app) == {}


async def test_each_destination_is_settled_by_itself(desk: Desk, live: Receiver) -> None:
    app = await opened(desk, live)
    desk.receiver.answer = live.answer = always(404)
    for signal in (await sell_by_hand(desk, app)).values():
        await desk.until(app, signal, "failed")
    found = await alarms(app)
    assert found.keys() == {("sells_failed", "AAPL"), ("sells_failed", LIVE)}
    await settle(desk, app, found["sells_failed", "AAPL"])
    assert (await alarms(app)).keys() == {("sells_failed", LIVE)}
    live.answer = take
    failed = await desk.database.fetchval("SELECT signal_id FROM orders WHERE destination = 'live'")
    await desk.order(app, "dead-letters/replay", ids=[str(failed)], confirm=1)
    await desk.until(app, failed, "forwarded")
    assert await alarms(app) == {}


async def test_a_position_at_one_destination_is_the_one_to_close(desk: Desk, live: Receiver) -> None:
    """The exit closes what `default` holds, and is refused by `live`."""
    app = await opened(desk, live)
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    live.answer = always(404)
    exit_ = await desk.send(app, "AAPL", "exit")
    await desk.until(app, exit_, "failed")
    assert await orders_of(desk, exit_) == {"default": "delivered", "live": "failed"}
    (position,) = (await ask(app, "GET", "/admin/positions"))["positions"]
    assert position["destination"] == "live"
    found = await alarms(app)
    assert found.keys() == {("sells_failed", LIVE)}
    assert found["sells_failed", LIVE]["position_id"] == position["id"]
    live.answer = take
    await desk.order(app, "order/close-position", 202, position_id=position["id"])
    await desk.settled(app)
    assert await alarms(app) == {}


async def test_an_exit_without_a_position_is_an_alarm_where_it_failed_while_it_waits_elsewhere(
    desk: Desk, live: Receiver
) -> None:
    """It stays settled there, whatever becomes of it at the other destination."""
    desk.configure("system", unmatched_exits="forward")
    app = await opened(desk, live)
    desk.receiver.answer, live.answer = always(503), always(404)
    exit_ = await desk.send(app, "AAPL", "exit")

    async def has_failed() -> bool:
        return (await orders_of(desk, exit_))["live"] == "failed"

    await desk.until(app, exit_, "approved", "forwarding")
    await desk.wait(app, has_failed, lambda: "it has not failed at `live`")
    found = await alarms(app)
    assert found.keys() == {("sells_failed", LIVE)}
    await settle(desk, app, found["sells_failed", LIVE])
    await desk.database.execute(BACKDATE, exit_, 31)
    assert (await alarms(app)).keys() == {("exits_waiting", "AAPL")}
    desk.receiver.answer = take
    await desk.until(app, exit_, "failed")
    assert await orders_of(desk, exit_) == {"default": "delivered", "live": "failed"}
    assert await alarms(app) == {}


@pytest.mark.parametrize("status", ["failed", "expired"])
async def test_a_signal_that_a_version_before_has_ended_is_an_alarm(
    desk: Desk, live: Receiver, status: str
) -> None:
    """Such a version does not know the order at another destination than `default`: it stays pending."""
    app = await opened(desk, live)
    await desk.order(app, "delivery/pause")
    sold = await sell_by_hand(desk, app)
    await desk.database.execute(
        "UPDATE signals SET status = $2, status_at = now() WHERE id = $1", sold["live"], status
    )
    assert await orders_of(desk, sold["live"]) == {"live": "pending"}
    found = await alarms(app)
    assert found.keys() == {(f"sells_{status}", "AAPL"), ("delivery_paused", "")}
    await settle(desk, app, found[f"sells_{status}", "AAPL"])
    assert (await alarms(app)).keys() == {("delivery_paused", "")}
    await desk.database.execute("DELETE FROM signals WHERE id = $1", sold["live"])  # the desk compares both


async def test_one_that_expires_at_one_destination_and_waits_at_another(desk: Desk, live: Receiver) -> None:
    """Each is settled or ends by itself, and what was settled for a ticker hides no destination's."""
    app = await opened(desk, live)
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    desk.receiver.answer = live.answer = always(503)
    exit_ = await desk.send(app, "AAPL", "exit")
    await desk.until(app, exit_, "approved", "forwarding")
    await desk.database.execute(
        "UPDATE orders SET expires_at = now() WHERE signal_id = $1 AND destination = 'live'", exit_
    )
    await desk.database.execute(BACKDATE, exit_, 31)

    async def has_expired() -> bool:
        return (await orders_of(desk, exit_))["live"] == "expired"

    await desk.wait(app, has_expired, lambda: "it has not expired at `live`")
    found = await alarms(app)
    assert found.keys() == {("sells_expired", LIVE), ("exits_waiting", "AAPL")}
    await settle(desk, app, {**found["sells_expired", LIVE], "subject": "AAPL"})
    assert (await alarms(app)).keys() == found.keys()
    desk.receiver.answer = take
    await desk.until(app, exit_, "expired")
    assert await orders_of(desk, exit_) == {"default": "delivered", "live": "expired"}
    assert (await alarms(app)).keys() == {("sells_expired", LIVE)}
    await settle(desk, app, found["sells_expired", LIVE])
    assert await alarms(app) == {}


async def test_one_that_failed_before_the_clock_stepped_back_can_be_settled(
    desk: Desk, live: Receiver
) -> None:
    """The time of its signal is corrected, that of its order is not."""
    app = await opened(desk, live)
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    live.answer = always(404)
    exit_ = await desk.send(app, "AAPL", "exit")
    await desk.until(app, exit_, "failed")
    await desk.database.execute(
        "UPDATE orders SET ended_at = ended_at + interval '1 hour' WHERE signal_id = $1", exit_
    )
    found = await alarms(app)
    assert found.keys() == {("sells_failed", LIVE)}
    await settle(desk, app, found["sells_failed", LIVE])
    assert await alarms(app) == {}
