"""The daily sell-all: once for each day, over restarts and in several processes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app.positions.risk_worker import FlattenWorker
from tests.api.operator import alarms, ask, log_of
from tests.api.outage import away

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

# In twelve hours: no test comes near it.
FLATTEN_AT = f"{datetime.now(UTC) + timedelta(hours=12):%H}:30"


async def bought(desk: Desk, app: AppServer, *tickers: str) -> None:
    """Open positions."""
    for ticker in tickers:
        assert (await desk.until(app, await desk.send(app, ticker, "buy")))["status"] == "forwarded"


async def scheduled(desk: Desk, app: AppServer) -> dict[str, Any]:
    """Wait until the configured time is scheduled; return the schedule."""
    found: list[Any] = []

    async def there() -> bool:
        query = "SELECT * FROM flatten_schedule WHERE due_at > clock_timestamp()"
        found[:] = [row for row in await desk.database.fetch(query) if row["flatten_at"] == FLATTEN_AT]
        return bool(found)

    await desk.wait(app, there, lambda: "nothing is scheduled")
    return dict(found[0])


async def let_it_be(desk: Desk, **ago: float) -> datetime:
    """Move the scheduled time to so long ago."""
    query = "UPDATE flatten_schedule SET due_at = clock_timestamp() - $1::interval RETURNING due_at"
    due_at: datetime = await desk.database.fetchval(query, timedelta(**ago))
    return due_at


async def sold(desk: Desk) -> list[tuple[str, str]]:
    """Return the orders of all sell-alls: ticker and reason code in the timeline."""
    rows = await desk.database.fetch(
        """SELECT s.ticker, e.reason_code FROM signals s JOIN signal_events e ON e.signal_id = s.id
           WHERE s.type = 'sell_all' AND e.status = 'approved' ORDER BY s.seq"""
    )
    return [(row["ticker"], row["reason_code"]) for row in rows]


async def test_all_is_sold_once_by_two_processes_and_after_restarts(desk: Desk) -> None:
    desk.configure("system", risk={"flatten_at": FLATTEN_AT})
    apps = [await desk.open(), await desk.open()]
    await bought(desk, apps[0], "AAPL", "NVDA")
    assert (await scheduled(desk, apps[0]))["handled_due_at"] is None
    due_at = await let_it_be(desk, seconds=1)
    # in addition to the workers of both processes
    await asyncio.gather(*(FlattenWorker(app.context).flatten() for app in apps * 4))
    schedule = await scheduled(desk, apps[0])
    assert schedule["handled_due_at"] == due_at
    assert await sold(desk) == [("AAPL", "flattened"), ("NVDA", "flattened")]
    await desk.settled(apps[0])
    assert await desk.open_positions() == {}
    ((*_, after, result),) = [line for line in await log_of(apps[0]) if line[:1] == ("schedule",)]
    assert (after["queued"], sorted(after["orders"]), result) == (2, ["AAPL", "NVDA"], "done")

    for app in apps:
        app.stop()
    again = await desk.open()
    await bought(desk, again, "TSLA")
    await FlattenWorker(again.context).flatten()
    assert (await scheduled(desk, again))["due_at"] == schedule["due_at"]
    assert await desk.open_positions() == {"TSLA": 1}
    assert len(await sold(desk)) == 2


async def test_a_restart_of_both_processes_at_that_minute_still_sells_once(desk: Desk) -> None:
    desk.configure("system", risk={"flatten_at": FLATTEN_AT})
    apps = [await desk.open(), await desk.open()]
    await bought(desk, apps[0], "AAPL")
    await scheduled(desk, apps[0])
    for app in apps:
        app.stop()
    await let_it_be(desk, minutes=3)
    again = await asyncio.gather(desk.open(), desk.open())
    for app in again:
        await scheduled(desk, app)
    await desk.settled(again[0])
    assert (await sold(desk), await desk.open_positions()) == ([("AAPL", "flattened")], {})


async def test_all_is_sold_once_after_an_outage_of_the_database_at_that_time(
    desk: Desk, database_url: str
) -> None:
    desk.configure("system", risk={"flatten_at": FLATTEN_AT})
    apps = [await desk.open(), await desk.open()]
    await bought(desk, apps[0], "AAPL")
    await scheduled(desk, apps[0])
    due_at = await let_it_be(desk, seconds=-2)
    async with away(database_url):

        async def has_come() -> bool:
            failures = [app.context.supervisor.states()["flatten"].failure for app in apps]
            return all(failures) and datetime.now(UTC) > due_at

        await desk.wait(apps[0], has_come, lambda: "no process noticed that the database is away")
    await scheduled(desk, apps[0])
    await desk.settled(apps[0])
    assert (await sold(desk), await desk.open_positions()) == ([("AAPL", "flattened")], {})


@asynccontextmanager
async def held(desk: Desk, buy: UUID, how: str) -> AsyncIterator[None]:
    """Prevent the end of a buy, by a lock on its row or by a failure of each such statement."""
    if how == "locked":
        async with desk.database.acquire() as other, other.transaction():
            await other.execute("SELECT FROM signals WHERE id = $1 FOR UPDATE", buy)
            yield
        return
    await desk.database.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
           CREATE TRIGGER refuse BEFORE UPDATE ON signals FOR EACH ROW
           WHEN (new.status = 'rejected') EXECUTE FUNCTION refuse()"""
    )
    yield
    await desk.database.execute("DROP TRIGGER refuse ON signals")


@pytest.mark.parametrize("how", ["locked", "failing"])
@pytest.mark.parametrize("paused", [False, True])
async def test_a_buy_that_cannot_be_ended_holds_up_no_sale(desk: Desk, how: str, *, paused: bool) -> None:
    desk.configure("system", risk={"flatten_at": FLATTEN_AT})
    app = await desk.open()
    await bought(desk, app, "AAPL")
    await scheduled(desk, app)
    await desk.order(app, "delivery/pause")
    buy = await desk.send(app, "NVDA", "buy")
    await desk.until(app, buy, "approved")
    async with held(desk, buy, how):
        if paused:
            await desk.order(app, "buys/pause")
        await let_it_be(desk, seconds=1)
        await scheduled(desk, app)
        assert await sold(desk) == [("AAPL", "flattened"), ("NVDA", "flattened")]
    ended = await desk.until(app, buy, "rejected")
    assert ended["reason_code"] in {"overtaken", "buys_paused"}
    await desk.order(app, "delivery/resume")
    await desk.settled(app)
    assert await desk.open_positions() == {}
    assert [got.alert["ticker"] for got in desk.receiver.received] == ["AAPL", "AAPL"]


async def test_more_than_an_hour_late_a_person_decides(desk: Desk) -> None:
    desk.configure("system", risk={"flatten_at": FLATTEN_AT})
    app = await desk.open()
    await bought(desk, app, "AAPL")
    await scheduled(desk, app)
    await desk.database.execute("UPDATE positions SET opened_at = opened_at - interval '2 hours'")
    await let_it_be(desk, minutes=61)
    await scheduled(desk, app)
    assert await sold(desk) == []
    assert "flatten_missed" in await alarms(app)
    (line,) = [each for each in await log_of(app) if each[0] == "schedule"]
    assert line[-1].endswith("more than an hour ago")
    await desk.order(app, "order/sell-all", 202)
    await desk.settled(app)
    assert "flatten_missed" not in await alarms(app)


async def test_a_new_time_never_sells_at_once(desk: Desk) -> None:
    app = await desk.open()
    await bought(desk, app, "AAPL")
    now = datetime.now(UTC)
    for time in (f"{now - timedelta(minutes=2):%H:%M}", f"{now:%H:%M}", FLATTEN_AT):
        await ask(app, "PUT", "/admin/system/config", body={"risk": {"flatten_at": time}})
        await FlattenWorker(app.context).flatten()
    due_at = (await scheduled(desk, app))["due_at"]
    # scheduled, and handled, while the clock was days ahead
    await desk.database.execute(
        """UPDATE flatten_schedule
           SET due_at = due_at + interval '9 days', handled_due_at = due_at + interval '8 days'"""
    )
    await FlattenWorker(app.context).flatten()
    assert (await scheduled(desk, app))["due_at"] == due_at
    await ask(app, "PUT", "/admin/system/config", body={"risk": {"flatten_at": ""}})

    async def is_off() -> bool:
        return bool(await desk.database.fetchval("SELECT due_at IS NULL FROM flatten_schedule"))

    await desk.wait(app, is_off, lambda: "it is still scheduled")
    assert await sold(desk) == []
