"""`/health`, `/health/detailed`, and the image's commands, on a real database."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg
import pytest

from app.settings import Settings
from tests.api.conftest import serve
from tests.api.operator import ask
from tests.api.process import answering
from tests.hosts.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer

# Three times 2 s, and a margin for a busy machine; an orderly return of a connection takes 30 s.
HANG_DEADLINE_SECONDS = 28


def _list(folder: Path) -> None:
    document = {"strategies": [{"name": "mine", "url": "list:AAPL,NVDA"}]}
    (folder / "finviz_config.json").write_text(json.dumps(document))


async def test_healthy_with_every_check(
    start_app: Callable[..., Awaitable[AppServer]], tmp_path: Path
) -> None:
    _list(tmp_path)
    server = await start_app(app_version="v1")
    async with asyncio.timeout(10):
        while True:
            async with server.http.get("/health") as answer:
                health = await answer.json()
                assert answer.status == 200
            if health["status"] == "healthy":  # after the first refresh
                break
    assert set(health) == {"status", "version", "uptime_seconds", "checks"}
    assert health["version"] == "v1"
    assert {check["status"] for check in health["checks"].values()} == {"ok"}


async def test_detailed_has_the_keys_of_the_specification(
    start_app: Callable[..., Awaitable[AppServer]], tmp_path: Path
) -> None:
    _list(tmp_path)
    server = await start_app(dest_webhook_url="http://user:hidden@127.0.0.1:9/hidden?hidden=1")
    async with server.http.get("/health/detailed") as answer:
        text = await answer.text()
    detailed = json.loads(text)
    components = detailed["components"]
    assert answer.status == 200
    assert set(detailed) == {"status", "version", "components"}
    assert set(components["processing_queue"]) == set(components["approved_queue"]) == {"size", "max_size"}
    assert components["workers"] == {
        "processing": 4,
        "forwarding": 8,
        "processing_active": 4,
        "forwarding_active": 8,
    }
    assert set(components["top_n_tickers"]) == {"count", "age_seconds", "last_update"}
    assert {"finviz_engine", "database", "destination"} < set(components)
    assert components["destination"]["kind"] == "live"
    assert "hidden" not in text


async def test_without_a_database_it_is_unhealthy_and_answers_in_time(
    start_app: Callable[..., Awaitable[AppServer]],
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = nobody.getsockname()[1]
        server = await start_app(database_url=f"postgresql://postgres@127.0.0.1:{port}/none")
        started = asyncio.get_running_loop().time()
        async with server.http.get("/health") as answer:
            health = await answer.json()
            assert answer.status == 503
        async with server.http.post("/webhook/in", data=b'{"ticker": "A"}') as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"]
        assert asyncio.get_running_loop().time() - started < 6
    assert health["status"] == "unhealthy"
    assert health["checks"]["database"]["status"] == "failed"


class HangingServer:
    """A proxy to the database that can hang: it accepts connections and bytes, and forwards nothing."""

    def __init__(self, database_url: str) -> None:
        self._target = urlsplit(database_url)
        self._passes = asyncio.Event()
        self._passes.set()
        self._pipes = set[asyncio.Task[None]]()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen until the block ends; yield the database's URL through the proxy."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            person, _, _ = self._target.netloc.rpartition("@")
            yield urlunsplit(self._target._replace(netloc=f"{person}@127.0.0.1:{port}"))
        finally:
            server.close()
            for pipe in self._pipes:
                pipe.cancel()

    @asynccontextmanager
    async def hang(self) -> AsyncIterator[None]:
        """Forward nothing until the block ends."""
        self._passes.clear()
        try:
            yield
        finally:
            self._passes.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._target.hostname, self._target.port)
        for source, sink in ((reader, there[1]), (there[0], writer)):
            self._pipes.add(asyncio.create_task(self._pass_on(source, sink)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await source.read(65_536):
                await self._passes.wait()
                sink.write(piece)
                await sink.drain()
        sink.close()


async def test_a_database_that_hangs_delays_no_answer(
    make_settings: Callable[..., Settings], database_url: str
) -> None:
    way = HangingServer(database_url)
    # The application ends first: without the proxy its connections would seem to hang until their time limit.
    async with way.open() as url, serve(make_settings(database_url=url)) as server:

        async def ask_health() -> tuple[int, str]:
            async with server.http.get("/health") as answer:
                found = await answer.json()
                return answer.status, found["checks"]["database"].get("reason", "")

        assert await ask_health() == (200, "")
        async with way.hang():
            async with asyncio.timeout(HANG_DEADLINE_SECONDS):
                for _ in range(3):  # the first meets an open connection, the next have to open one
                    await asyncio.sleep(1.1)  # longer than an answer is kept
                    answers = await asyncio.gather(*(ask_health() for _ in range(5)))
                    assert set(answers) == {(503, "no answer in 2 s")}
        async with asyncio.timeout(60):
            while True:
                if (await ask_health())[0] == 200:
                    break
                await asyncio.sleep(0.2)


async def test_without_schema_health_names_the_command(
    start_app: Callable[..., Awaitable[AppServer]], database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    server = await start_app()
    async with server.http.get("/health") as answer:
        assert answer.status == 503
        assert "app migrate" in (await answer.json())["checks"]["database"]["reason"]


def _environment(database_url: str, folder: Path, **changes: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    return {**clean, "DATABASE_URL": database_url, "CONFIG_DIR": str(folder), **changes}


async def _status(http: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with http.get(f"{url}/health") as answer:
        return answer.status, (await answer.json())["status"]


@pytest.mark.parametrize("has_metrics", [True, False])
async def test_the_process_serves_logs_json_and_stops_on_term(
    database_url: str, tmp_path: Path, *, has_metrics: bool
) -> None:
    _list(tmp_path)
    port, metrics_port = free_port(), free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "serve"),
        env=_environment(
            database_url.replace("postgresql://", "postgresql+asyncpg://"),
            tmp_path,
            SERVER_PORT=str(port),
            PROMETHEUS_PORT=str(metrics_port),
            ENABLE_PROMETHEUS=str(has_metrics),
            WEBHOOK_SECRET="hidden",
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = list[dict[str, Any]]()
    try:
        async with asyncio.timeout(30):
            while not lines or "running on" not in lines[-1]["event"]:
                lines.append(json.loads(await process.stdout.readline()))
        async with aiohttp.ClientSession() as http:
            body = b'{"ticker": "NVDA", "action": "buy"}'
            async with http.post(f"http://127.0.0.1:{port}/webhook/in/hidden", data=body) as answer:
                signal_id = (await answer.json())["signal_id"]
            async with http.get(f"http://127.0.0.1:{port}/nowhere?secret=hidden") as answer:
                assert answer.status in {401, 404}
            operations = f"http://127.0.0.1:{metrics_port}"
            await answering(http, operations)  # a moment after the application's own port
            for path in ("/", "/metrics") if has_metrics else ():
                async with http.get(f"{operations}{path}") as answer:
                    assert "signals_received_total 1.0" in await answer.text()
            for path in ("/admin", "/webhook/in") if has_metrics else ("/", "/metrics", "/admin"):
                async with http.get(f"{operations}{path}") as answer:
                    assert answer.status == 404
            async with asyncio.timeout(10):
                while (found := await _status(http, operations)) != (200, "healthy"):
                    assert found == (200, "degraded")  # until the first refresh is seen
    finally:
        process.send_signal(signal.SIGTERM)
    output, _ = await asyncio.wait_for(process.communicate(), 15)

    lines += [json.loads(line) for line in output.splitlines()]
    assert all(list(line)[:3] == ["time", "level", "event"] for line in lines)
    assert next(line["ticker"] for line in lines if line.get("signal_id") == signal_id) == "NVDA"
    assert lines[-1]["event"].startswith("Finished server process")
    assert not any("hidden" in json.dumps(line) for line in lines)


def _run(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_wrong_setting_ends_every_command_with_78_and_one_line(database_url: str, tmp_path: Path) -> None:
    for command in ("serve", "migrate", "check"):
        result = _run(command, _environment(database_url, tmp_path, TOP_N="many"))
        assert (result.returncode, result.stdout) == (78, "")
        assert result.stderr.startswith("TOP_N='many' is not valid: ")
        assert result.stderr.count("\n") == 1


def test_check_reads_the_files_too(database_url: str, tmp_path: Path) -> None:
    environment = _environment(database_url, tmp_path)
    assert _run("check", environment).returncode == 0
    (tmp_path / "webhook_config.json").write_text('{"timeout": 0}')
    result = _run("check", environment)
    assert result.returncode == 78
    assert "webhook_config.json: line 1: timeout" in result.stderr


def test_check_names_a_target_that_apprise_does_not_know(database_url: str, tmp_path: Path) -> None:
    environment = _environment(database_url, tmp_path, NOTIFY_URLS="json://127.0.0.1/hook")
    assert _run("check", environment).returncode == 0
    urls = "json://127.0.0.1/s3cret nonsense://s3cret"
    result = _run("check", _environment(database_url, tmp_path, NOTIFY_URLS=urls))
    assert (result.returncode, result.stdout) == (78, "")
    assert result.stderr == (
        "NOTIFY_URLS=(not shown) is not valid: URL 2 (nonsense) is not one that apprise knows\n"
    )


def test_migrate_is_idempotent_and_names_an_unavailable_database(database_url: str, tmp_path: Path) -> None:
    assert _run("migrate", _environment(database_url, tmp_path)).returncode == 0
    away = _run("migrate", _environment(f"postgresql://postgres@127.0.0.1:{free_port()}/x", tmp_path))
    assert away.returncode == 1
    assert away.stderr.startswith("PostgreSQL cannot be reached")


async def test_a_wrong_machine_clock_is_reported_and_never_used(app_server: AppServer) -> None:
    context = app_server.context
    await context.clock.look(context.pool)
    context.clock.machine = lambda: datetime.now(UTC) - timedelta(hours=5)
    async with app_server.http.get("/health") as answer:
        assert answer.status == 200
        check = (await answer.json())["checks"]["clock"]
    assert check["status"] == "degraded"
    assert "differs from the database's by -1" in check["reason"]
    status = await ask(app_server, "GET", "/admin/status")
    assert "clock_differs" in {alarm["code"] for alarm in status["alarms"]}
    async with app_server.http.post("/webhook/in", data=b"no JSON") as answer:
        assert answer.status == 422
    while not (at := await context.pool.fetchval("SELECT at FROM refused_posts")):
        await context.wakeups.wait("changed", 1)
    now = await context.pool.fetchval("SELECT clock_timestamp()")
    for stamp in (at, datetime.fromisoformat(status["status"]["at"])):
        assert abs(now - stamp) < timedelta(hours=1)
