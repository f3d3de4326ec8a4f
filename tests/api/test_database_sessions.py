"""Database sessions: UTC, bounded, kept alive, apart from people's reads, and seen when blocked."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.db.pool import connect
from tests.api.operator import BEARER, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from app.db.pool import Connection
    from tests.api.conftest import AppServer

WAIT_SECONDS = 60


@asynccontextmanager
async def transaction(url: str, *statements: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Another program's session, idle in a transaction after these statements."""
    connection = await asyncpg.connect(url, server_settings={"application_name": "somebody"})
    try:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
            yield connection
    finally:
        await connection.close()


async def health_until(app: AppServer, there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll `/health` until its answer is as expected."""
    answer: dict[str, Any] = {}
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                async with app.http.get("/health") as response:
                    answer = await response.json()
                if there(answer):
                    return answer
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(answer) from None


async def test_every_time_is_utc_for_any_time_zone_of_the_database(
    database_url: str, start_app: Callable[..., Awaitable[AppServer]]
) -> None:
    name = urlsplit(database_url).path.strip("/")
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Kolkata'")
    await connection.close()
    app = await start_app()
    async with app.http.post("/webhook/in", json={"ticker": "AAPL", "side": "sell"}) as answer:
        assert answer.status == 202
    hours = await ask(app, "GET", "/admin/signals-history", hours=3)
    moments = [datetime.fromisoformat(hour["hour"]) for hour in hours]
    assert len(moments) == 3
    assert {(moment.minute, moment.utcoffset()) for moment in moments} == {(0, timedelta())}
    assert sum(hour["received"] for hour in hours) == 1
    for pool in (app.context.pool, app.context.probing):
        assert await pool.fetchval("SHOW timezone") == "UTC"
    assert (await app.context.reading.fetch("SHOW timezone"))[0][0] == "UTC"
    async with app.http.post("/admin/database/export", headers=BEARER) as answer:
        exported = await answer.text()
    assert "+05:30" not in exported
    assert "AAPL" in exported


async def test_trading_keeps_its_plans_and_peoples_reads_are_planned(
    start_app: Callable[..., Awaitable[AppServer]],
) -> None:
    app = await start_app()
    assert await app.context.pool.fetchval("SHOW plan_cache_mode") == "force_generic_plan"
    assert (await app.context.reading.fetch("SHOW plan_cache_mode"))[0][0] == "auto"


async def test_sessions_are_bounded_and_kept_alive(database_url: str) -> None:
    own = await connect(f"{database_url}?keepalives_idle=11&keepalives_count=2", role="test")
    try:
        assert await own.fetchval("SHOW idle_in_transaction_session_timeout") == "10s"
        assert await own.fetchval("SHOW tcp_keepalives_idle") == "30"
        assert await own.fetchval("SHOW application_name") == "trading-signal-processor test"
        peer = own._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # noqa: SLF001  # the kernel's settings
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 11
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 2
    finally:
        await own.close()


async def test_the_commands_take_a_url_with_parameters_of_libpq(
    database_url: str, start_app: Callable[..., Awaitable[AppServer]]
) -> None:
    query = (
        "channel_binding=prefer&connect_timeout=10&gssencmode=disable&keepalives=1&keepalives_idle=30"
        "&sslmode=prefer&application_name=desk&target_session_attrs=read-write&fallback_application_name=x"
        "&options=-c%20search_path%3Dpublic"
    )
    url = f"{database_url}?{query}"
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "app", "migrate"],
        env={"DATABASE_URL": url, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    app = await start_app(database_url=url)
    async with app.http.post("/webhook/in", json={"ticker": "AAPL", "side": "buy"}) as answer:
        assert answer.status == 202
    names = {
        row[0]
        for row in await app.context.pool.fetch(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
        )
    }
    assert "desk" in names
    assert all(name.startswith("desk") for name in names), names


def command(name: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the application; return its output and exit code."""
    return subprocess.run(
        [sys.executable, "-m", "app", name],
        env={"DATABASE_URL": url, "PATH": "/usr/bin:/bin", "DATA_DIR": str(folder), "SERVER_PORT": "1"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


async def test_settings_in_the_url_reach_the_server_and_utc_stays(
    database_url: str, start_app: Callable[..., Awaitable[AppServer]], tmp_path: Path
) -> None:
    query = (
        "jit=off&TimeZone=Asia/Tokyo&DateStyle=ISO&search_path=public"
        "&idle_in_transaction_session_timeout=5000"
    )
    url = f"{database_url}?{query}"
    done = await asyncio.to_thread(command, "migrate", url, tmp_path)
    assert done.returncode == 0, done.stderr
    app = await start_app(database_url=url)
    assert await app.context.pool.fetchval("SHOW idle_in_transaction_session_timeout") == "5s"
    assert await app.context.pool.fetchval("SHOW timezone") == "UTC"


async def test_a_setting_that_the_server_refuses_is_named(database_url: str, tmp_path: Path) -> None:
    for query, name in (("Chanel_Binding=S3CRETPART", "chanel_binding"), ("work_mem=S3CRETPART", "work_mem")):
        done = await asyncio.to_thread(command, "migrate", f"{database_url}?{query}", tmp_path)
        assert done.returncode == 1
        assert f"the parameter {name} of DATABASE_URL" in done.stderr
        assert "S3CRETPART" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["check", "migrate", "serve"])
@pytest.mark.parametrize("port", ["S3CRETPART/et@127.0.0.1:5544", "x@127.0.0.1:99999"])
def test_no_command_shows_a_part_of_the_url(name: str, port: str, tmp_path: Path) -> None:
    done = command(name, f"postgresql://postgres:{port}/x", tmp_path)
    assert done.returncode == 78
    assert done.stderr.startswith("DATABASE_URL=(not shown)")
    assert "S3CRETPART" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


async def test_migrate_bounds_other_programs_transactions_and_keeps_a_limit_of_a_person(
    database_url: str,
) -> None:
    async def limit() -> str:
        connection = await asyncpg.connect(database_url)
        found: str = await connection.fetchval("SHOW idle_in_transaction_session_timeout")
        await connection.close()
        return found

    async def migrated() -> str:
        await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "app", "migrate"],
            env={"DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"},
            timeout=WAIT_SECONDS,
            check=True,
        )
        return await limit()

    assert await migrated() == "20s"
    name = urlsplit(database_url).path.strip("/")
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"ALTER DATABASE \"{name}\" SET idle_in_transaction_session_timeout = '3min'")
    await connection.close()
    assert await migrated() == "3min"


async def test_a_worker_behind_a_lock_is_named_until_the_lock_is_gone(
    app_server: AppServer, database_url: str
) -> None:
    lock = "SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))"
    async with transaction(database_url, lock) as other:
        async with app_server.http.post("/webhook/in", json={"ticker": "AAPL", "side": "sell"}) as answer:
            assert answer.status == 202
        found = await health_until(app_server, lambda seen: seen["checks"]["workers"]["status"] != "ok")
        reason = found["checks"]["workers"]["reason"]
        assert found["status"] == "degraded"
        assert reason.startswith("decision-")
        assert f"PostgreSQL process {other.get_server_pid()}, idle in a transaction" in reason
        status = await ask(app_server, "GET", "/admin/status")
        assert "workers_blocked" in {alarm["code"] for alarm in status["alarms"]}
    await health_until(app_server, lambda seen: seen["checks"]["workers"]["status"] == "ok")
    status = await ask(app_server, "GET", "/admin/status")
    assert "workers_blocked" not in {alarm["code"] for alarm in status["alarms"]}


async def test_reads_that_hang_hold_back_neither_health_nor_orders(
    app_server: AppServer, database_url: str
) -> None:
    """The table of refused posts is locked: every read of it hangs, and no post is refused meanwhile."""

    async def read(language: str) -> tuple[int, str]:
        async with app_server.http.get(
            "/admin/refused", headers={**BEARER, "Accept-Language": language}
        ) as answer:
            return answer.status, (await answer.json())["detail"]

    async with transaction(database_url, "LOCK TABLE refused_posts IN ACCESS EXCLUSIVE MODE"):
        reads = [asyncio.create_task(read("en" if number % 2 else "pt-BR")) for number in range(16)]
        await asyncio.sleep(0)
        async with app_server.http.post("/webhook/in", json={"ticker": "AAPL", "side": "sell"}) as answer:
            assert answer.status == 202
            signal = (await answer.json())["signal_id"]
        while not await app_server.context.pool.fetchval(
            "SELECT status FROM signals WHERE id = $1 AND status = 'rejected'", signal
        ):
            await app_server.context.wakeups.wait("changed", 0.2)
        async with app_server.http.get("/health") as answer:
            assert answer.status == 200
        assert not all(task.done() for task in reads)
        answers = await asyncio.gather(*reads)
    assert {status for status, _ in answers} == {503}
    said = {detail for _, detail in answers}
    assert any("5 seconds" in detail for detail in said)
    assert any("5 segundos" in detail for detail in said)


async def test_heavy_reads_take_turns_and_leave_connections_for_the_others(
    app_server: AppServer, database_url: str
) -> None:
    async with transaction(database_url, "LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE"):
        heavy = [
            asyncio.create_task(app_server.http.get("/admin/database", headers=BEARER)) for _ in range(8)
        ]
        await asyncio.sleep(0)
        assert await ask(app_server, "GET", "/admin/actions-log") == {"actions": [], "next_cursor": None}
        assert not all(task.done() for task in heavy)
        answers = await asyncio.gather(*heavy)
        assert {answer.status for answer in answers} == {503}
        assert {answer.headers["Retry-After"] for answer in answers} == {"2"}
        for answer in answers:
            answer.release()
    assert (await ask(app_server, "GET", "/admin/database"))["attempts"] == 0


async def test_requests_for_the_same_statistic_share_one_read(app_server: AppServer) -> None:
    reading, reads = app_server.context.reading, list[int]()

    async def count(connection: Connection) -> int:
        reads.append(1)
        await connection.execute("SELECT pg_sleep(0.4)")
        return len(reads)

    assert await asyncio.gather(*(reading.compute("count", count) for _ in range(16))) == [1] * 16
    assert await reading.compute("count", count) == 1  # for 3.6 s
    assert await reading.compute("another", count) == 2
    reading.forget()
    assert await reading.compute("count", count) == 3


async def test_a_cheap_statistic_and_a_failed_one_are_read_again(app_server: AppServer) -> None:
    reading, results = app_server.context.reading, [1, 2]

    async def count(_: Connection) -> int:
        return results.pop(0)

    assert await reading.compute("count", count) == 1
    assert await reading.compute("count", count) == 2
    for _ in range(2):
        with pytest.raises(IndexError):
            await reading.compute("count", count)
    results = [3]
    assert await reading.compute("count", count) == 3


async def test_a_client_that_disconnects_ends_no_read_of_the_others(app_server: AppServer) -> None:
    reading = app_server.context.reading

    async def sleep(connection: Connection) -> str:
        await connection.execute("SELECT pg_sleep(0.3)")
        return "slept"

    first = asyncio.create_task(reading.compute("sleep", sleep))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(reading.compute("sleep", sleep))
    first.cancel()
    assert await second == "slept"
