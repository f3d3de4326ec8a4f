"""A full queue, and commits that fail: what a sender gets, and what `/health` reports."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.api.operator import ask, health

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.conftest import AppServer

WAIT_SECONDS = 60

_DISK_FULL = """
    CREATE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'could not extend file "base/1/secret"' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER is_full BEFORE INSERT ON signals EXECUTE FUNCTION is_full()
"""


async def post(app: AppServer, number: int) -> int:
    """Send a unique alert; return the status."""
    alert = {"ticker": f"T{number}", "side": "sell"}
    async with app.http.post("/webhook/in", json=alert) as answer:
        await answer.read()
        return answer.status


async def until_health(app: AppServer, there: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll `/health` until its status and checks are as expected; return the checks."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            status, checks = await health(app)
            if there(status, checks):
                return checks
            await asyncio.sleep(0.1)


async def test_a_burst_larger_than_the_queue_is_accepted_while_decisions_keep_up(
    start_app: Callable[..., Awaitable[AppServer]],
) -> None:
    app = await start_app(queue_max_size=20)
    for first in (0, 100, 200):
        burst = (post(app, number) for number in range(first, first + 60))
        assert set(await asyncio.gather(*burst)) == {202}


async def test_a_full_queue_refuses_with_503_and_accepts_posts_again_after_the_decisions(
    start_app: Callable[..., Awaitable[AppServer]],
) -> None:
    app = await start_app(queue_max_size=20)
    pool = app.context.pool
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()  # decisions wait, as behind a slow disk
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))")
        answers: list[int] = []
        while 503 not in answers and len(answers) < 200:  # one commit may store a whole burst
            answers += await asyncio.gather(*(post(app, len(answers) + number) for number in range(40)))
        assert answers.count(202) >= 20
        assert set(answers) == {202, 503}
        assert await pool.fetchval("SELECT count(*) FROM signals") == answers.count(202)
        await transaction.rollback()
    async with asyncio.timeout(WAIT_SECONDS):
        while await pool.fetchval("SELECT count(*) FROM signals WHERE status = 'received'"):
            await app.context.wakeups.wait("changed", 0.2)
    assert set(await asyncio.gather(*(post(app, number) for number in range(100, 110)))) == {202}


async def test_commits_that_fail_are_unhealthy_until_posts_can_be_stored_again(
    app_server: AppServer,
) -> None:
    assert (await health(app_server))[0] == 200
    await app_server.context.pool.execute(_DISK_FULL)
    assert await post(app_server, 1) == 503
    status, checks = await health(app_server)
    assert status == 503
    assert checks["database"]["status"] == "ok"
    assert checks["intake"]["status"] == "failed"
    assert "DiskFullError" in checks["intake"]["reason"]
    assert "secret" not in checks["intake"]["reason"]
    overview = await ask(app_server, "GET", "/admin/status")
    assert "intake_failing" in {alarm["code"] for alarm in overview["alarms"]}
    await app_server.context.pool.execute("DROP TRIGGER is_full ON signals")
    await until_health(app_server, lambda status, _: status == 200)  # without a post
    assert await app_server.context.pool.fetchval("SELECT count(*) FROM signals") == 0
    assert await post(app_server, 2) == 202


async def test_a_worker_that_fails_is_named_until_it_works_again(app_server: AppServer) -> None:
    pool = app_server.context.pool
    await pool.execute("ALTER TABLE top_n_lists RENAME TO away")
    checks = await until_health(app_server, lambda _, found: found["workers"]["status"] == "degraded")
    assert "fails" in checks["workers"]["reason"]
    await pool.execute("ALTER TABLE away RENAME TO top_n_lists")
    await until_health(app_server, lambda _, found: found["workers"]["status"] == "ok")
