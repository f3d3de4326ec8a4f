"""A switch stored in a revision, and versions that keep such a member without knowing it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from app.config.model import SYSTEM_FILE, WEBHOOK_FILE
from tests.api.conftest import serve
from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from app.settings import Settings
    from tests.api.conftest import AppServer

    MakeSettings = Callable[..., Settings]

SECONDS = 20
# The statement of versions that only know the files: the number follows from the row, not from the document.
STORE_UNAWARE = """
    INSERT INTO configuration (revision, documents) VALUES (1, $1)
    ON CONFLICT (only_row) DO UPDATE
    SET revision = configuration.revision + 1, at = clock_timestamp(), documents = excluded.documents
"""


async def until(app: AppServer, there: Callable[[], bool]) -> None:
    """Wait until the application has noticed the change."""
    async with asyncio.timeout(SECONDS):
        while not there():
            await app.context.wakeups.wait("changed", 0.1)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Open a database connection."""
    connection = await asyncpg.connect(settings.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def documents(settings: Settings) -> dict[str, Any]:
    """Return the documents of the current revision."""
    async with database(settings) as connection:
        stored: dict[str, Any] = json.loads(await connection.fetchval("SELECT documents FROM configuration"))
        return stored


async def store_unaware(settings: Settings, name: str, document: dict[str, Any]) -> None:
    """Store a revision as a version does that does not know the member of the decisions: it stays."""
    stored = await documents(settings)
    assert set(stored) - {SYSTEM_FILE, WEBHOOK_FILE, "finviz_config.json"} == {"decided", "switched_at"}
    async with database(settings) as connection:
        await connection.execute(STORE_UNAWARE, json.dumps({**stored, name: document}))


def write_wrong(path: Path, document: dict[str, Any]) -> None:
    """Write the document without its last brace."""
    path.write_text(json.dumps(document)[:-1])


async def switch_on_a_wrong_file(app: AppServer, path: Path, *, part: str, pause: bool) -> None:
    """Pause or resume while the file has an error in it."""
    if not pause:
        await ask(app, "POST", f"/admin/{part}/pause")
    write_wrong(path, {f"{part}_paused": not pause, "mine": 1})
    await until(app, lambda: bool(app.context.config_problems))
    await ask(app, "POST", f"/admin/{part}/{'pause' if pause else 'resume'}")


def is_paused(app: AppServer, part: str) -> bool:
    """Return whether this part is paused in the current configuration."""
    return bool(getattr(app.context.config.system, f"{part}_paused"))


@pytest.mark.parametrize("part", ["engine", "delivery", "intake"])
@pytest.mark.parametrize("pause", [True, False])
@pytest.mark.parametrize("corrected", [True, False])
async def test_a_switch_of_an_older_version_in_between_is_the_newer_decision(
    make_settings: MakeSettings,
    tmp_path: Path,
    part: str,
    pause: bool,  # noqa: FBT001 - a parameter of pytest
    corrected: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    path, key, settings = tmp_path / SYSTEM_FILE, f"{part}_paused", make_settings()
    async with serve(settings) as app:
        await switch_on_a_wrong_file(app, path, part=part, pause=pause)
    if corrected:
        path.write_text(json.dumps({key: not pause}))
    await store_unaware(settings, SYSTEM_FILE, {key: not pause})
    async with serve(settings) as app:
        assert is_paused(app, part) is not pause
        path.write_text(json.dumps({key: not pause, "mine": 2}))
        await until(app, lambda: app.context.config.documents[SYSTEM_FILE].get("mine") == 2)
        assert is_paused(app, part) is not pause
    assert json.loads(path.read_text()) == {key: not pause, "mine": 2}
    assert "decided" not in await documents(settings)


@pytest.mark.parametrize("pause", [True, False])
async def test_an_older_version_running_in_parallel_ends_the_decision_too(
    make_settings: MakeSettings,
    tmp_path: Path,
    pause: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    path, settings = tmp_path / SYSTEM_FILE, make_settings()
    async with serve(settings) as app:
        await switch_on_a_wrong_file(app, path, part="delivery", pause=pause)
        await store_unaware(settings, SYSTEM_FILE, {"delivery_paused": not pause})
        await until(app, lambda: is_paused(app, "delivery") is not pause)
        path.write_text(json.dumps({"delivery_paused": not pause, "mine": 1}))
        await until(app, lambda: not app.context.config_problems)
        assert is_paused(app, "delivery") is not pause
        # a person's next decision on a wrong file holds again
        await switch_on_a_wrong_file(app, path, part="delivery", pause=pause)
        path.write_text(json.dumps({"delivery_paused": not pause}))
        await until(app, lambda: not app.context.config_problems)
        assert is_paused(app, "delivery") is pause
    assert json.loads(path.read_text()) == {"delivery_paused": pause}


@pytest.mark.parametrize("pause", [True, False])
async def test_a_decision_is_kept_over_changes_of_other_files_and_restarts(
    make_settings: MakeSettings,
    tmp_path: Path,
    pause: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    path, settings = tmp_path / SYSTEM_FILE, make_settings()
    async with serve(settings) as app:
        await switch_on_a_wrong_file(app, path, part="delivery", pause=pause)
        await ask(app, "PUT", "/admin/webhook/config", body={"timeout": 2})
    async with serve(settings) as app:
        await ask(app, "PUT", "/admin/webhook/config", body={"timeout": 3})
    path.write_text(json.dumps({"delivery_paused": not pause}))
    async with serve(settings) as app:
        assert is_paused(app, "delivery") is pause
    assert json.loads(path.read_text()) == {"delivery_paused": pause}


@pytest.mark.parametrize("decided", [None, 1, [], {"delivery_paused": True}, {"revision": 1}])
async def test_a_member_of_another_shape_decides_nothing(
    make_settings: MakeSettings, tmp_path: Path, decided: object
) -> None:
    settings = make_settings()
    (tmp_path / SYSTEM_FILE).write_text('{"delivery_paused": false}')
    async with serve(settings):
        assert set(await documents(settings)) == {SYSTEM_FILE, WEBHOOK_FILE, "finviz_config.json"}
    async with database(settings) as connection:
        stored = json.dumps({**await documents(settings), "decided": decided})
        await connection.execute("UPDATE configuration SET documents = $1", stored)
    async with serve(settings) as app:
        assert not is_paused(app, "delivery")


@pytest.mark.parametrize("url", [False, 0, [], {}])
async def test_paper_that_an_older_version_read_from_another_value_stays_in_force_and_is_named(
    make_settings: MakeSettings, tmp_path: Path, url: object
) -> None:
    settings = make_settings(dest_webhook_url="https://bridge.example/")
    (tmp_path / WEBHOOK_FILE).write_text(json.dumps({"url": url}))
    async with database(settings) as connection:
        await connection.execute(STORE_UNAWARE, json.dumps({WEBHOOK_FILE: {"url": url}}))
    async with serve(settings) as app:
        assert app.context.config.webhook.url is None
        assert app.context.config_problems[WEBHOOK_FILE].place == "url"


async def test_a_pause_that_an_older_version_stored_outlives_an_old_copy_too(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, path, copy = make_settings(), tmp_path / SYSTEM_FILE, tmp_path / "backup.json"
    copy.write_text('{"delivery_paused": false, "retention_days": 7}')
    os.utime(copy, (time.time() - 3600,) * 2)
    path.write_text('{"delivery_paused": true}')
    async with database(settings) as connection:
        await connection.execute(STORE_UNAWARE, json.dumps({SYSTEM_FILE: {"delivery_paused": True}}))
    async with serve(settings) as app:
        shutil.copy2(copy, path)
        await until(app, lambda: app.context.config.system.retention_days == 7)
        assert is_paused(app, "delivery")
