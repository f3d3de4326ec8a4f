"""Configuration files that people write by hand or put back stop no exit and end no newer pause."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING, Any

import pytest

from app.config.state import unwritten_switches
from tests.api.operator import ask, health, log_of, system_file
from tests.api.test_configuration import until
from tests.api.trading.receiver import listening

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

SYSTEM, WEBHOOK, FINVIZ = "system_config.json", "webhook_config.json", "finviz_config.json"
LIST = {"strategies": [{"name": "mine", "url": "list:AAPL"}]}


async def sent(app: AppServer, side: str) -> str:
    """Post an alert; return its id."""
    async with app.http.post("/webhook/in", json={"ticker": "AAPL", "side": side}) as answer:
        assert answer.status == 202
        return str((await answer.json())["signal_id"])


async def forwarded(app: AppServer, signal_id: str) -> bool:
    """Return whether the signal is delivered within 5 s."""
    query = "SELECT status FROM signals WHERE id = $1"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while await app.context.pool.fetchval(query, signal_id) != "forwarded":
                await app.context.wakeups.wait("changed", 0.1)
            return True
    return False


@pytest.mark.parametrize("name", [SYSTEM, WEBHOOK])
async def test_a_number_without_a_json_form_stops_no_exit_and_no_pause(
    start_app: StartApp, tmp_path: Path, name: str
) -> None:
    (tmp_path / FINVIZ).write_text(json.dumps(LIST))
    first = await start_app()
    await forwarded(first, await sent(first, "buy"))
    (tmp_path / name).write_text('{"mine": 1e999}')
    await until(first, lambda: name in first.context.config_problems)
    status, checks = await health(first)
    assert status == 200
    assert checks["workers"]["status"] == "ok", checks["workers"]
    assert f"config/{name}: line 1: " in checks["configuration"]["reason"]
    assert (await ask(first, "POST", "/admin/delivery/pause"))["delivery_paused"]
    assert not (await ask(first, "POST", "/admin/delivery/resume"))["delivery_paused"]
    first.stop()
    again = await start_app()
    assert await forwarded(again, await sent(again, "sell"))


@pytest.mark.parametrize("url", [False, 0, [], {}])
async def test_a_destination_that_is_no_text_is_not_taken_for_paper(
    start_app: StartApp, tmp_path: Path, url: object
) -> None:
    (tmp_path / FINVIZ).write_text(json.dumps(LIST))
    async with listening() as receiver:
        app = await start_app(dest_webhook_url=receiver.url)
        (tmp_path / WEBHOOK).write_text(json.dumps({"url": url}))
        await until(app, lambda: WEBHOOK in app.context.config_problems)
        assert (await ask(app, "GET", "/admin/webhook/config"))["problem"]
        assert await forwarded(app, await sent(app, "buy"))
        app.stop()
        again = await start_app(dest_webhook_url=receiver.url)
        assert await forwarded(again, await sent(again, "sell"))
        assert len(receiver.received) == 2


@pytest.mark.parametrize(("is_down", "part"), [(False, "delivery"), (True, "delivery"), (True, "buys")])
@pytest.mark.parametrize("pause", [True, False])
async def test_a_copy_from_before_a_switch_does_not_undo_it(
    start_app: StartApp, tmp_path: Path, *, is_down: bool, part: str, pause: bool
) -> None:
    before, after = system_file(part, pause=not pause), system_file(part, pause=pause)
    path, copy = tmp_path / SYSTEM, tmp_path / "backup.json"
    app = await start_app()
    if not pause:
        await ask(app, "POST", f"/admin/{part}/pause")
    path.write_text(json.dumps({**before, "retention_days": 30}))
    await until(app, lambda: app.context.config.system.retention_days == 30)
    shutil.copy2(path, copy)
    os.utime(copy, (time.time() - 3600,) * 2)
    await ask(app, "POST", f"/admin/{part}/{'pause' if pause else 'resume'}")
    path.write_text(json.dumps({**after, "retention_days": 31}))
    await until(app, lambda: app.context.config.system.retention_days == 31)
    if is_down:
        app.stop()
    shutil.copy2(copy, path)  # as `cp -p` and `tar` restore a backup: with its old time
    if is_down:
        app = await start_app()
    await until(app, lambda: app.context.config.system.retention_days == 30)
    assert getattr(app.context.config.system, f"{part}_paused") is pause
    assert json.loads(path.read_text()) == {**after, "retention_days": 30}
    path.write_text(json.dumps(before))  # an edit in place is a decision of a person
    await until(app, lambda: getattr(app.context.config.system, f"{part}_paused") is not pause)


async def test_an_edit_after_the_clock_was_put_back_is_a_persons_decision(
    app_server: AppServer, tmp_path: Path
) -> None:
    await ask(app_server, "POST", "/admin/delivery/pause")
    store = app_server.app.state.config_store
    ahead = time.time_ns() + 3_600_000_000_000  # the switch was stored while the clock was an hour ahead
    store._state.config.documents["switched_at"]["delivery_paused"] = ahead  # noqa: SLF001
    (tmp_path / SYSTEM).write_text('{"delivery_paused": false}')
    await until(app_server, lambda: not app_server.context.config.system.delivery_paused)


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> Unwritable:
    """Return a switch that makes the configuration folder unwritable, also for root, which runs the tests."""
    return Unwritable(monkeypatch)


class Unwritable:
    """The configuration folder cannot be written between `begin` and `end`."""

    def __init__(self, patching: pytest.MonkeyPatch) -> None:
        self._patching, self._make_file = patching, tempfile.mkstemp

    def begin(self) -> None:
        """Refuse new files with the system's error."""

        def refuse(*_: Any, **__: Any) -> Any:
            raise PermissionError(errno.EACCES, "Permission denied")

        self._patching.setattr(tempfile, "mkstemp", refuse)

    def end(self) -> None:
        """Allow new files again."""
        self._patching.setattr(tempfile, "mkstemp", self._make_file)


@pytest.mark.parametrize("pause", [True, False])
async def test_a_switch_holds_though_its_file_cannot_be_written(
    start_app: StartApp, tmp_path: Path, unwritable: Unwritable, *, pause: bool
) -> None:
    path, word = tmp_path / SYSTEM, "pause" if pause else "resume"
    app = await start_app()
    if not pause:
        await ask(app, "POST", "/admin/delivery/pause")
    before = path.read_text() if path.exists() else None
    unwritable.begin()
    answer = await ask(app, "POST", f"/admin/delivery/{word}")
    assert answer["delivery_paused"] is pause
    assert "cannot be written" in answer["warning"]
    assert (path.read_text() if path.exists() else None) == before
    assert [action for _, _, action, *_ in await log_of(app)][-1] == f"delivery.{word}"
    app.stop()
    again = await start_app()
    assert again.context.config.system.delivery_paused is pause
    unwritable.end()
    again.app.state.config_store._write_again_at = 0.0  # noqa: SLF001 - not the 30 s until the next try
    await until(again, lambda: not unwritten_switches(again.context.config))
    assert json.loads(path.read_text())["delivery_paused"] is pause
    assert "warning" not in await ask(again, "POST", f"/admin/delivery/{word}")


async def test_an_edit_of_a_file_that_only_people_can_write_overrules_an_older_switch(
    start_app: StartApp, tmp_path: Path, unwritable: Unwritable
) -> None:
    path = tmp_path / SYSTEM
    path.write_text('{"delivery_paused": false}')
    app = await start_app()
    unwritable.begin()
    await ask(app, "POST", "/admin/delivery/pause")
    path.write_text('{"delivery_paused": false, "mine": 1}')
    await until(app, lambda: not app.context.config.system.delivery_paused)
    assert not unwritten_switches(app.context.config)
