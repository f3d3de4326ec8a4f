"""Configuration live (SPEC §7): edits count, wrong ones harm nobody, two processes agree, pauses persist."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from app.config import SYSTEM_FILE, WEBHOOK_FILE
from app.errors import ConfigFileError
from tests.api.operator import log_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

SECONDS = 5  # SPEC §7


async def until(app: AppServer, there: Callable[[], bool]) -> None:
    """Wait until the application has taken over what the test did."""
    async with asyncio.timeout(SECONDS):
        while not there():
            await app.runtime.wakeups.wait("changed", 0.1)


async def configuration_check(app: AppServer) -> dict[str, str]:
    """What /health says of the configuration; the service stays up whatever it is."""
    async with app.http.get("/health") as answer:
        assert answer.status == 200
        check: dict[str, str] = (await answer.json())["checks"]["configuration"]
        return check


async def test_an_edited_file_counts_and_is_logged_without_its_secret(
    app_server: AppServer, tmp_path: Path
) -> None:
    (tmp_path / WEBHOOK_FILE).write_text(
        '{"url": "https://user:pw@bridge.example/hook/secret?key=1", "timeout": 3, "mine": {"kept": 1.10}}'
    )
    await until(app_server, lambda: app_server.runtime.config.webhook.timeout == 3)
    runtime = app_server.runtime
    assert runtime.config.webhook.url == "https://user:pw@bridge.example/hook/secret?key=1"
    assert runtime.config.documents[WEBHOOK_FILE]["mine"] == {"kept": 1.1}
    assert await log_of(app_server) == [
        (
            "file",
            "config/webhook_config.json",
            "config.edit",
            "webhook_config.json",
            {},
            {"url": "https://bridge.example/***", "timeout": 3, "mine": {"kept": 1.1}},
            "done",
        )
    ]


async def test_a_broken_edit_changes_nothing_and_says_where_to_mend_it(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / WEBHOOK_FILE
    path.write_text('{"timeout": 3}')
    await until(app_server, lambda: app_server.runtime.config.webhook.timeout == 3)
    path.write_text('{\n  "timeout": 300\n}')
    await until(app_server, lambda: bool(app_server.runtime.config_problems))
    assert app_server.runtime.config.webhook.timeout == 3
    check = await configuration_check(app_server)
    assert check["status"] == "degraded"
    assert "config/webhook_config.json: line 2: timeout: " in check["reason"]
    path.write_text('{"timeout": 4}')
    await until(app_server, lambda: app_server.runtime.config.webhook.timeout == 4)
    assert await configuration_check(app_server) == {"status": "ok"}


async def test_a_file_that_is_replaced_by_removing_it_first_does_not_count_as_empty(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / WEBHOOK_FILE
    path.write_text('{"url": "https://bridge.example/"}')
    await until(app_server, lambda: app_server.runtime.config.webhook.url is not None)
    path.unlink()
    store = app_server.app.state.config_store
    await store.look()
    assert app_server.runtime.config.webhook.url == "https://bridge.example/"
    await until(app_server, lambda: app_server.runtime.config.webhook.url is None)  # it stays away: paper


async def test_a_start_with_a_broken_file_takes_the_last_good_revision(
    start_app: StartApp, tmp_path: Path
) -> None:
    (tmp_path / WEBHOOK_FILE).write_text('{"timeout": 3}')
    first = await start_app()
    assert first.runtime.config.webhook.timeout == 3
    (tmp_path / WEBHOOK_FILE).write_text('{"timeout": ')
    (tmp_path / SYSTEM_FILE).write_text('{"retention_days": 5}')
    second = await start_app()
    assert second.runtime.config.webhook.timeout == 3
    assert second.runtime.config.system.retention_days == 5
    check = await configuration_check(second)
    assert "config/webhook_config.json: line 1: " in check["reason"]


async def test_a_first_start_with_a_broken_file_stops(start_app: StartApp, tmp_path: Path) -> None:
    (tmp_path / WEBHOOK_FILE).write_text("{\n")
    with pytest.raises(ConfigFileError, match=r"webhook_config\.json: line 2: "):
        await start_app()


async def test_two_processes_agree_though_only_one_saw_the_file(
    start_app: StartApp, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = [tmp_path_factory.mktemp("config") for _ in range(2)]
    first, second = [await start_app(config_dir=folder) for folder in folders]
    (folders[0] / SYSTEM_FILE).write_text('{"retention_days": 5}')
    await until(second, lambda: second.runtime.config.system.retention_days == 5)
    (folders[1] / WEBHOOK_FILE).write_text('{"timeout": 2}')
    await until(first, lambda: first.runtime.config.webhook.timeout == 2)
    assert first.runtime.config.system.retention_days == 5
    assert [action for _, _, action, *_ in await log_of(first)] == ["config.edit", "config.edit"]


async def test_an_edit_of_a_shared_folder_is_logged_once(start_app: StartApp, tmp_path: Path) -> None:
    both = [await start_app(), await start_app()]
    (tmp_path / SYSTEM_FILE).write_text('{"retention_days": 5}')
    for app in both:
        await until(app, lambda app=app: app.runtime.config.system.retention_days == 5)  # type: ignore[misc]
        await app.app.state.config_store.look()
    assert len(await log_of(both[0])) == 1


async def test_a_pause_outlives_its_file(start_app: StartApp, tmp_path: Path) -> None:
    path = tmp_path / SYSTEM_FILE
    path.write_text('{"delivery_paused": true, "intake_paused": true}')
    first = await start_app()
    assert first.runtime.config.system.delivery_paused
    first.stop()
    path.write_text('{"intake_paused": false}')  # what a person writes resumes; what is missing does not
    second = await start_app()
    assert second.runtime.config.system.delivery_paused
    assert not second.runtime.config.system.intake_paused
    assert json.loads(path.read_text()) == {"intake_paused": False, "delivery_paused": True}


async def test_a_paused_intake_refuses_and_a_resumed_one_takes(app_server: AppServer, tmp_path: Path) -> None:
    path = tmp_path / SYSTEM_FILE
    path.write_text('{"intake_paused": true}')
    await until(app_server, lambda: app_server.runtime.config.system.intake_paused)
    alert = {"ticker": "AAPL", "side": "buy"}
    async with app_server.http.post("/webhook/in", json=alert) as answer:
        assert answer.status == 503
        assert "Retry-After" in answer.headers
    path.write_text('{"intake_paused": false}')
    await until(app_server, lambda: not app_server.runtime.config.system.intake_paused)
    async with app_server.http.post("/webhook/in", json=alert) as answer:
        assert answer.status == 202


async def test_a_database_that_was_emptied_gets_the_configuration_again(app_server: AppServer) -> None:
    pool = app_server.runtime.pool
    await pool.execute("DELETE FROM configuration")
    async with asyncio.timeout(SECONDS):
        while await pool.fetchval("SELECT count(*) FROM configuration") == 0:
            await app_server.runtime.wakeups.wait("changed", 0.1)
    assert await log_of(app_server) == []
