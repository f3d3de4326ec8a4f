"""Live configuration: edits apply, wrong ones change nothing, two processes agree, pauses persist."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from app.config.model import SYSTEM_FILE, WEBHOOK_FILE
from app.errors import ConfigFileError
from tests.api.operator import ask, log_of, system_file

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

SECONDS = 5  # within which an edit must be applied


async def until(app: AppServer, there: Callable[[], bool]) -> None:
    """Wait until the application has applied the test's change."""
    async with asyncio.timeout(SECONDS):
        while not there():
            await app.context.wakeups.wait("changed", 0.1)


async def configuration_check(app: AppServer) -> dict[str, str]:
    """Return the configuration check of /health; the service stays up in any case."""
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
    await until(app_server, lambda: app_server.context.config.webhook.timeout == 3)
    context = app_server.context
    assert context.config.webhook.url == "https://user:pw@bridge.example/hook/secret?key=1"
    assert context.config.documents[WEBHOOK_FILE]["mine"] == {"kept": 1.1}
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


async def test_a_broken_edit_changes_nothing_and_names_the_place_to_correct(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / WEBHOOK_FILE
    path.write_text('{"timeout": 3}')
    await until(app_server, lambda: app_server.context.config.webhook.timeout == 3)
    path.write_text('{\n  "timeout": 300\n}')
    await until(app_server, lambda: bool(app_server.context.config_problems))
    assert app_server.context.config.webhook.timeout == 3
    check = await configuration_check(app_server)
    assert check["status"] == "degraded"
    assert "config/webhook_config.json: line 2: timeout: " in check["reason"]
    path.write_text('{"timeout": 4}')
    await until(app_server, lambda: app_server.context.config.webhook.timeout == 4)
    assert await configuration_check(app_server) == {"status": "ok"}


async def test_a_file_that_is_replaced_by_removing_it_first_does_not_count_as_empty(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / WEBHOOK_FILE
    path.write_text('{"url": "https://bridge.example/"}')
    await until(app_server, lambda: app_server.context.config.webhook.url is not None)
    path.unlink()
    store = app_server.app.state.config_store
    await store.look()
    assert app_server.context.config.webhook.url == "https://bridge.example/"
    await until(app_server, lambda: app_server.context.config.webhook.url is None)  # it stays absent: paper


async def test_a_start_with_a_broken_file_uses_the_last_good_revision(
    start_app: StartApp, tmp_path: Path
) -> None:
    (tmp_path / WEBHOOK_FILE).write_text('{"timeout": 3}')
    first = await start_app()
    assert first.context.config.webhook.timeout == 3
    (tmp_path / WEBHOOK_FILE).write_text('{"timeout": ')
    (tmp_path / SYSTEM_FILE).write_text('{"retention_days": 5}')
    second = await start_app()
    assert second.context.config.webhook.timeout == 3
    assert second.context.config.system.retention_days == 5
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
    await until(second, lambda: second.context.config.system.retention_days == 5)
    (folders[1] / WEBHOOK_FILE).write_text('{"timeout": 2}')
    await until(first, lambda: first.context.config.webhook.timeout == 2)
    assert first.context.config.system.retention_days == 5
    assert [action for _, _, action, *_ in await log_of(first)] == ["config.edit", "config.edit"]


async def test_an_edit_of_a_shared_folder_is_logged_once(start_app: StartApp, tmp_path: Path) -> None:
    both = [await start_app(), await start_app()]
    (tmp_path / SYSTEM_FILE).write_text('{"retention_days": 5}')
    for app in both:
        await until(app, lambda app=app: app.context.config.system.retention_days == 5)  # type: ignore[misc]
        await app.app.state.config_store.look()
    assert len(await log_of(both[0])) == 1


async def test_a_pause_outlives_its_file(start_app: StartApp, tmp_path: Path) -> None:
    path = tmp_path / SYSTEM_FILE
    path.write_text('{"delivery_paused": true, "intake_paused": true}')
    first = await start_app()
    assert first.context.config.system.delivery_paused
    first.stop()
    path.write_text('{"intake_paused": false}')  # a written value resumes; a missing one does not
    second = await start_app()
    assert second.context.config.system.delivery_paused
    assert not second.context.config.system.intake_paused
    assert json.loads(path.read_text()) == {"intake_paused": False, "delivery_paused": True}


async def test_a_paused_intake_refuses_and_a_resumed_one_accepts(
    app_server: AppServer, tmp_path: Path
) -> None:
    path = tmp_path / SYSTEM_FILE
    path.write_text('{"intake_paused": true}')
    await until(app_server, lambda: app_server.context.config.system.intake_paused)
    alert = {"ticker": "AAPL", "side": "buy"}
    async with app_server.http.post("/webhook/in", json=alert) as answer:
        assert answer.status == 503
        assert "Retry-After" in answer.headers
    path.write_text('{"intake_paused": false}')
    await until(app_server, lambda: not app_server.context.config.system.intake_paused)
    async with app_server.http.post("/webhook/in", json=alert) as answer:
        assert answer.status == 202


async def test_a_database_that_was_emptied_gets_the_configuration_again(app_server: AppServer) -> None:
    pool = app_server.context.pool
    await pool.execute("DELETE FROM configuration")
    async with asyncio.timeout(SECONDS):
        while await pool.fetchval("SELECT count(*) FROM configuration") == 0:
            await app_server.context.wakeups.wait("changed", 0.1)
    assert await log_of(app_server) == []


def switched(app: AppServer) -> dict[str, bool]:
    """Return what is paused."""
    system = app.context.config.system
    return {
        "engine": system.engine_paused,
        "buys": system.buys_paused,
        "delivery": system.delivery_paused,
        "intake": system.intake_paused,
    }


async def until_right(app: AppServer) -> None:
    """Wait until every file is readable again."""
    await until(app, lambda: not app.context.config_problems)


@pytest.mark.parametrize("part", ["engine", "buys", "delivery", "intake"])
@pytest.mark.parametrize("pause", [True, False])
async def test_a_file_older_than_a_switch_never_undoes_it(
    start_app: StartApp,
    tmp_path: Path,
    part: str,
    pause: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    path = tmp_path / SYSTEM_FILE
    before, after = system_file(part, pause=not pause), system_file(part, pause=pause)
    app = await start_app()
    if not pause:
        await ask(app, "POST", f"/admin/{part}/pause")
    wrong = json.dumps({**before, "mine": 1})[:-1]
    path.write_text(wrong)
    await until(app, lambda: bool(app.context.config_problems))
    await ask(app, "POST", f"/admin/{part}/{'pause' if pause else 'resume'}")
    assert path.read_text() == wrong
    assert switched(app)[part] is pause
    other = await start_app()  # the decision outlives the process, and applies to other processes
    assert switched(other)[part] is pause
    path.write_text(wrong + "}")
    await until_right(other)
    await until_right(app)
    assert switched(app)[part] is switched(other)[part] is pause
    assert json.loads(path.read_text()) == {**after, "mine": 1}
    path.write_text(json.dumps(before))  # a newer edit is a person's decision again
    await until(app, lambda: switched(app)[part] is not pause)


async def test_a_repeated_pause_is_a_decision_too(app_server: AppServer, tmp_path: Path) -> None:
    path = tmp_path / SYSTEM_FILE
    await ask(app_server, "POST", "/admin/delivery/pause")
    path.write_text('{"delivery_paused": false')
    await until(app_server, lambda: bool(app_server.context.config_problems))
    await ask(app_server, "POST", "/admin/delivery/pause")
    path.write_text('{"delivery_paused": false}')
    await until_right(app_server)
    assert switched(app_server)["delivery"]
    await ask(app_server, "POST", "/admin/delivery/resume")
    assert json.loads(path.read_text()) == {"delivery_paused": False}
    assert not switched(app_server)["delivery"]


async def test_a_start_on_a_corrected_file_keeps_the_switch(start_app: StartApp, tmp_path: Path) -> None:
    path = tmp_path / SYSTEM_FILE
    path.write_text('{"delivery_paused": false}')
    app = await start_app()
    path.write_text('{"delivery_paused": false,,}')
    await until(app, lambda: bool(app.context.config_problems))
    await ask(app, "POST", "/admin/delivery/pause")
    app.stop()
    path.write_text('{"delivery_paused": false}')
    again = await start_app()
    assert switched(again)["delivery"]
    assert json.loads(path.read_text()) == {"delivery_paused": True}


WRONG_URL = "http://host..example/hook/S3CRET"


async def test_an_unusable_destination_is_refused_when_it_is_changed(
    app_server: AppServer, tmp_path: Path
) -> None:
    for url in (WRONG_URL, f"http://{'a' * 64}.example/S3CRET", "http://h:99999/S3CRET", "http://h/ S3CRET"):
        refused = await ask(app_server, "PUT", "/admin/webhook/config", 422, body={"url": url})
        assert "url: " in refused["detail"]
        assert "S3CRET" not in json.dumps(refused)
    assert app_server.context.config.webhook.url is None
    path = tmp_path / WEBHOOK_FILE
    path.write_text(json.dumps({"timeout": 4, "url": WRONG_URL}, indent=1))
    await until(app_server, lambda: bool(app_server.context.config_problems))
    check = await configuration_check(app_server)
    assert "config/webhook_config.json: line 3: url: " in check["reason"]
    assert "S3CRET" not in check["reason"]
    assert app_server.context.config.webhook.url is None
    path.unlink()
    await until_right(app_server)
    pasted = await ask(app_server, "PUT", "/admin/webhook/config", body={"url": " http://bridge/hook\n"})
    assert pasted["values"]["url"] == "http://bridge/***"


@pytest.mark.parametrize("place", ["file", "database", "environment"])
async def test_an_unusable_current_destination_stays_and_is_named(
    start_app: StartApp, tmp_path: Path, place: str
) -> None:
    path = tmp_path / WEBHOOK_FILE
    path.write_text(json.dumps({} if place == "environment" else {"url": WRONG_URL}))
    settings = {"dest_webhook_url": WRONG_URL} if place == "environment" else {}
    app = await start_app(**settings)
    if place == "database":
        path.write_text("{")
        app = await start_app()
    assert app.context.config.webhook.url == WRONG_URL
    async with app.http.get("/health") as answer:
        check = (await answer.json())["checks"]["destination"]
    assert check["status"] == "degraded"
    assert "each part between dots" in check["reason"]
    status = await ask(app, "GET", "/admin/status")
    (alarm,) = [alarm for alarm in status["alarms"] if alarm["code"] == "destination_wrong"]
    assert "S3CRET" not in json.dumps([check, alarm])
    if place == "file":  # a change of another value does not touch it, one of the URL is checked
        await ask(app, "PUT", "/admin/webhook/config", body={"timeout": 2})
        assert app.context.config.webhook.url == WRONG_URL
        await ask(app, "PUT", "/admin/webhook/config", 422, body={"url": WRONG_URL + "x"})
        await ask(app, "PUT", "/admin/webhook/config", body={"url": "http://bridge/hook"})
        async with app.http.get("/health") as answer:
            assert (await answer.json())["checks"]["destination"]["status"] == "ok"
