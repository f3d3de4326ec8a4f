"""TradingView repeats an alert after a 503, without an idempotency key."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from tests.api.conftest import AppServer

    Database = asyncpg.Connection[asyncpg.Record]

# As its messages often look: the id is a constant, the time is the bar's.
ALERT = b'{"ticker":"NVDA","action":"buy","id":"Long","signal_id":"Long","time":"2026-11-24T14:30:00Z"}'
RESENDS, APART = 3, 5
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'signals'::regclass"


async def post(app: AppServer, body: bytes = ALERT) -> tuple[int, dict[str, Any]]:
    """Send an alert without an idempotency header."""
    async with app.http.post("/webhook/in", data=body) as answer:
        return answer.status, await answer.json()


async def pass_time(database: Database, seconds: int) -> None:
    """Move the arrival of all earlier posts back by so much."""
    await database.execute(
        "UPDATE intake_keys SET expires_at = expires_at - make_interval(secs => $1)", seconds
    )


@asynccontextmanager
async def nothing_commits(database: Database) -> AsyncIterator[None]:
    """Block commits until the block ends: PostgreSQL accepts statements and waits. Intake runs by then."""
    async with asyncio.timeout(10):
        while not await database.fetchval("SELECT count(*) FROM intake_processes"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # no event reports that a process has recorded itself
    async with database.transaction():
        await database.execute("LOCK TABLE signals IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("refusals", [1, 2, 3])
async def test_an_alert_that_was_answered_503_and_sent_again_is_processed_once(
    app_server: AppServer, database: Database, refusals: int
) -> None:
    async with nothing_commits(database):
        for _ in range(refusals):
            assert (await post(app_server))[0] == 503
    # the first one was being committed when its sender got the 503
    await committed(app_server, database, 1)
    answers = []
    for _ in range(RESENDS - refusals + 1):
        await pass_time(database, APART)
        answers.append(await post(app_server))
    assert {(status, answer["duplicate"]) for status, answer in answers} == {(202, True)}
    stored = await database.fetch("SELECT id FROM signals")
    assert [str(row["id"]) for row in stored] == [answers[0][1]["signal_id"]]
    assert len({answer["signal_id"] for _, answer in answers}) == 1


async def test_an_alert_that_was_withdrawn_is_stored_by_the_resend(
    app_server: AppServer, database: Database
) -> None:
    async with nothing_commits(database):
        others = asyncio.create_task(post(app_server, b'{"ticker":"FIRST"}'))  # the batch in progress
        while not await database.fetchval(WAITING):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # no event reports that another connection waits
        assert (await post(app_server))[0] == (await others)[0] == 503
    await committed(app_server, database, 1)
    await pass_time(database, APART)
    first, second = await post(app_server), await post(app_server)
    assert (first[1]["duplicate"], second[1]["duplicate"]) == (False, True)
    assert await database.fetchval("SELECT count(*) FROM signals WHERE ticker = 'NVDA'") == 1


async def committed(app: AppServer, database: Database, count: int) -> None:
    """Wait until so many signals are stored."""
    async with asyncio.timeout(10):
        while await database.fetchval("SELECT count(*) FROM signals") != count:
            await app.context.wakeups.wait("changed", 0.2)


async def test_two_alerts_with_a_constant_id_a_minute_apart_are_two_signals(
    app_server: AppServer, database: Database
) -> None:
    first = (await post(app_server))[1]
    await pass_time(database, 59)
    again = (await post(app_server))[1]
    await pass_time(database, 2)
    second = (await post(app_server))[1]
    assert (again["signal_id"], again["duplicate"]) == (first["signal_id"], True)
    assert second["duplicate"] is False
    rows = await database.fetch("SELECT id, sender_signal_id FROM signals ORDER BY seq")
    assert [str(row["id"]) for row in rows] == [first["signal_id"], second["signal_id"]]
    assert {row["sender_signal_id"] for row in rows} == {"Long"}
