"""Nothing is claimed before the database's configuration revision is known: it may hold a pause."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from app.config.model import DECIDED, SYSTEM_FILE
from tests.api.trading.receiver import WAIT_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk


@asynccontextmanager
async def locked_configuration(desk: Desk) -> AsyncIterator[None]:
    """Keep every process from reading the revision, as a process with a pending change does."""
    async with desk.database.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('configuration', 0))")
        yield


async def turns(app: AppServer, expected: int) -> None:
    """Wait until the outbox has begun so many turns."""
    seen, silent = 0, 0.0
    async with asyncio.timeout(WAIT_SECONDS):
        while seen < expected:
            now = app.context.supervisor.states()["outbox"].silent_seconds
            seen, silent = seen + (now < silent), now
            await asyncio.sleep(0.05)  # a worker's turns notify no waiter


def known(app: AppServer) -> tuple[bool, bool]:
    """Return whether the revision is known, and whether delivery is paused in the known configuration."""
    return app.context.is_configured, app.context.config.system.delivery_paused


async def unsent(desk: Desk, app: AppServer) -> bool:
    """Return whether the outbox has claimed nothing after some turns."""
    await turns(app, 3)
    claimed = await desk.database.fetchval("SELECT count(*) FROM attempts")
    return (claimed, desk.receiver.received) == (0, [])


@pytest.mark.parametrize("is_paused", [False, True], ids=["running", "paused"])
async def test_exits_wait_until_the_revision_is_known(desk: Desk, is_paused: bool) -> None:  # noqa: FBT001
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA'), ('AAPL')")
    pause = {"delivery_paused": is_paused}
    documents = json.dumps({SYSTEM_FILE: pause, DECIDED: {"revision": 7, "switches": pause}})
    await desk.database.execute("INSERT INTO configuration (revision, documents) VALUES (7, $1)", documents)
    desk.configure("system", delivery_paused=False)
    async with locked_configuration(desk):
        app = await desk.open()
        sells = [await desk.send(app, ticker, "sell") for ticker in ("NVDA", "AAPL")]
        for sell in sells:
            await desk.until(app, sell, "approved")
        assert await unsent(desk, app)
        assert known(app) == (False, False)  # as the files say

    async with asyncio.timeout(WAIT_SECONDS):
        while known(app) != (True, is_paused):
            await app.context.wakeups.wait("changed", 0.1)
    if is_paused:
        assert await unsent(desk, app)
        await desk.order(app, "delivery/resume")
    for sell in sells:
        assert (await desk.until(app, sell))["status"] == "forwarded"
