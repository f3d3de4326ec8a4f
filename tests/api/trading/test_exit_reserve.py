"""Entries leave a reserve of each rate limit free; exits use it, also after entries that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.api.operator import ask
from tests.api.trading.desk import FINAL

if TYPE_CHECKING:
    from uuid import UUID

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

HELD = ("X1", "X2", "X3")
LISTED = [f"T{number}" for number in range(6)]


async def start(desk: Desk, **limits: Any) -> AppServer:
    """Start an application that holds three positions."""
    desk.configure("webhook", rate_limiting_enabled=True, **limits)
    desk.watch("list:" + ",".join(LISTED))
    for ticker in HELD:
        await desk.database.execute("INSERT INTO positions (ticker) VALUES ($1)", ticker)
    return await desk.open(dest_webhook_rate_limiting_enabled=True, forwarding_workers=8)


async def until_waiting(desk: Desk, app: AppServer, count: int) -> None:
    """Wait until so many orders wait, and none is being sent."""

    async def there() -> bool:
        query = "SELECT status, count(*) FROM signals WHERE NOT status = ANY ($1) GROUP BY status"
        rows = await desk.database.fetch(query, FINAL)
        return {row["status"]: row["count"] for row in rows} == {"approved": count}

    await desk.wait(app, there, lambda: f"not {count} orders wait")


async def waiting(desk: Desk) -> list[UUID]:
    """Return the orders that wait, the oldest first."""
    rows = await desk.database.fetch("SELECT id FROM signals WHERE status = 'approved' ORDER BY seq")
    return [row["id"] for row in rows]


async def alarms(app: AppServer) -> list[str]:
    """Return the codes of the alarms about limits."""
    status = await ask(app, "GET", "/admin/status")
    return [each["code"] for each in status["alarms"] if each["code"].endswith("limit_exhausted")]


@pytest.mark.parametrize(
    "limits",
    [
        {"max_req_per_min": 5, "exit_reserve": {"per_min": 2}},
        {"max_req_per_hour": 5, "exit_reserve": {"per_hour": 50}},  # at most half of the limit counts
    ],
    ids=["minute", "hour"],
)
async def test_entries_leave_the_reserve_to_exits(desk: Desk, limits: dict[str, Any]) -> None:
    app = await start(desk, **limits)
    entries = [await desk.send(app, ticker, "buy") for ticker in LISTED]
    await until_waiting(desk, app, 3)
    blocked = await waiting(desk)
    assert len(desk.receiver.received) == 3
    for ticker in HELD[:2]:
        row = await desk.until(app, await desk.send(app, ticker, "sell"))
        assert row["status"] == "forwarded"
        assert (row["status_at"] - row["received_at"]).total_seconds() < 10
    assert await waiting(desk) == blocked
    last = await desk.send(app, HELD[2], "sell")
    await until_waiting(desk, app, 4)
    assert len(desk.receiver.received) == 5
    # an hour later exits leave first, and as many entries as leave the reserve free
    await desk.database.execute(
        """UPDATE attempts
           SET started_at = started_at - interval '1 hour', ended_at = ended_at - interval '1 hour'"""
    )
    await until_waiting(desk, app, 1)
    assert (await desk.signal(last))["status"] == "forwarded"
    assert [(await desk.signal(each))["status"] for each in entries].count("forwarded") == 5


async def test_the_alarm_is_about_waiting_entries_while_exits_leave(desk: Desk) -> None:
    app = await start(desk, max_req_per_min=4, exit_reserve={"per_min": 2})
    for ticker in LISTED:
        await desk.send(app, ticker, "buy")
    await until_waiting(desk, app, 4)

    async def says(code: str) -> bool:
        return await alarms(app) == [code]

    await desk.wait(app, lambda: says("entry_limit_exhausted"), lambda: "no alarm that entries wait")
    for ticker in HELD[:2]:
        await desk.until(app, await desk.send(app, ticker, "sell"))
    await desk.wait(app, lambda: says("limit_exhausted"), lambda: "no alarm that every order waits")


async def test_without_a_reserve_entries_use_the_whole_limit(desk: Desk) -> None:
    app = await start(desk, max_req_per_min=4, exit_reserve={"per_min": 0})
    for ticker in LISTED:
        await desk.send(app, ticker, "buy")
    await until_waiting(desk, app, 2)
    assert len(desk.receiver.received) == 4
