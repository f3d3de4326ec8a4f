"""Import from the replaced system: its strategies' file, and the command."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from app.transfer.legacy import LegacyImportError
from tests.api.legacy import SCHEMA, contents, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import asyncpg

    from app.settings import Settings

    Database = asyncpg.Connection[asyncpg.Record]
    MakeSettings = Callable[..., Settings]
from tests.api.legacy_import.running import moved

FLAT = {
    "finviz_url": "https://finviz.com/screener.ashx?v=111&s=mine",
    "top_n": 12,
    "refresh_interval_sec": 60,
}


@pytest.mark.parametrize(
    ("content", "strategies", "said"),
    [
        (json.dumps(FLAT), 1, "is the active one"),
        (json.dumps({**FLAT, "strategies": []}), 0, "cannot come: finviz_config.json there"),
        (
            json.dumps({"screener": "https://finviz.com"}),
            False,
            "cannot come: finviz_config.json there",
        ),
        ("not json", 0, "cannot come: finviz_config.json there"),
    ],
    ids=["flat", "half", "unknown", "broken"],
)
async def test_a_flat_file_comes_and_another_one_is_named_and_changes_nothing(
    settings_of: MakeSettings, source: Database, tmp_path: Path, content: str, strategies: int, said: str
) -> None:
    await source.execute(SCHEMA)
    old = tmp_path / "old" / "finviz_config.json"
    old.parent.mkdir()
    old.write_text(content)
    report = await moved(settings_of(legacy_finviz_file=old))
    lines = "\n".join(report.lines())
    assert said in lines
    assert ("no strategy came: " in lines) == (not strategies)
    ours = tmp_path / "finviz_config.json"
    assert ours.exists() == bool(strategies)
    if strategies:
        (strategy,) = json.loads(ours.read_text())["strategies"]
        assert (strategy["url"], strategy["top_n"]) == (FLAT["finviz_url"], 12)
    assert old.read_text() == content


async def test_a_flat_file_next_to_strategies_in_the_database_is_named(
    settings_of: MakeSettings, source: Database, tmp_path: Path
) -> None:
    await fill(source, 10)
    old = tmp_path / "old.json"
    old.write_text(json.dumps(FLAT))
    report = await moved(settings_of(legacy_finviz_file=old))
    assert "note: finviz_config.json there is not read" in "\n".join(report.lines())
    assert report.strategies.new == 3


async def test_a_flat_file_is_read_from_stdin_too(
    source: Database, source_url: str, database_url: str, tmp_path: Path
) -> None:
    """So that the deployer needs no copy of it that the application's user may read."""
    await source.execute(SCHEMA)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "import-legacy"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url,
            "LEGACY_DATABASE_URL": source_url,
            "LEGACY_FINVIZ_FILE": "-",
            "CONFIG_DIR": str(tmp_path),
        },
    )
    out, _ = await process.communicate(json.dumps(FLAT).encode())
    assert (process.returncode, b"is the active one" in out) == (0, True)
    (strategy,) = json.loads((tmp_path / "finviz_config.json").read_text())["strategies"]
    assert strategy["url"] == FLAT["finviz_url"]


async def test_strategies_that_are_here_stay_and_so_does_the_active_one(
    settings_of: MakeSettings, source: Database, tmp_path: Path
) -> None:
    await fill(source, 10)
    ours = tmp_path / "finviz_config.json"
    mine = {"name": "movers", "url": "list:NVDA"}
    ours.write_text(json.dumps({"strategies": [mine], "unknown": 1}))
    report = await moved(settings_of())
    document = json.loads(ours.read_text())
    assert (document["strategies"][0], document["active"], document["unknown"]) == (mine, "movers", 1)
    assert [each["name"] for each in document["strategies"]] == ["movers", "Default Strategy", "Wide"]
    assert (report.strategies.new, report.strategies.present) == (2, 1)


async def test_the_active_one_becomes_ours_where_nobody_has_chosen(
    settings_of: MakeSettings, source: Database, tmp_path: Path
) -> None:
    """The deployer says so for a file that is the one of the template."""
    await fill(source, 10)
    ours = tmp_path / "finviz_config.json"
    ours.write_text(json.dumps({"active": "mine", "strategies": [{"name": "mine", "url": "list:NVDA"}]}))
    await moved(settings_of(legacy_activate=True))
    document = json.loads(ours.read_text())
    assert document["active"] == "Movers"
    names = [each["name"] for each in document["strategies"]]
    assert names == ["mine", "Default Strategy", "Movers", "Wide"]


async def test_a_wrong_file_of_ours_is_named_and_the_rest_comes(
    settings_of: MakeSettings, source: Database, database: Database, tmp_path: Path
) -> None:
    await fill(source, 10)
    await moved(settings_of())
    await database.execute("DELETE FROM signals")
    ours = tmp_path / "finviz_config.json"
    ours.write_text("{")
    await source.execute("UPDATE finviz_urls SET name = name || ' 2'")
    report = await moved(settings_of())
    assert "no strategy came" in "\n".join(report.lines())
    assert ours.read_text() == "{"
    assert report.signals.new == 10


@pytest.mark.parametrize("command", ["migrate", "serve"])
async def test_the_database_of_the_replaced_system_is_refused_and_unchanged(
    source: Database, source_url: str, tmp_path: Path, command: str
) -> None:
    await fill(source, 10)
    before = await contents(source)
    code, out, err = await run_command(
        command=command, DATABASE_URL=source_url, CONFIG_DIR=str(tmp_path), ENABLE_PROMETHEUS="false"
    )
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "import-legacy" in err
    assert "docs/moving-over.md" in err
    assert await contents(source) == before


async def run_command(
    *arguments: str, command: str = "import-legacy", **variables: str
) -> tuple[int, str, str]:
    """Run a command as a process; return its exit code and what it writes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", command, *arguments),
        env={"PATH": os.environ["PATH"], **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_reports_and_ends_0(
    source: Database, source_url: str, database_url: str, tmp_path: Path
) -> None:
    await fill(source, 10)
    variables = {"DATABASE_URL": database_url, "LEGACY_DATABASE_URL": source_url, "CONFIG_DIR": str(tmp_path)}
    code, out, err = await run_command("--check", **variables)
    assert (code, err, "signals: 10 found, 10 would come" in out) == (0, "", True)
    code, out, err = await run_command(**variables)
    assert (code, err, "signals: 10 found, 10 came" in out) == (0, "", True)


async def test_what_cannot_be_read_is_said_in_one_line_without_the_password(
    settings_of: MakeSettings, source_url: str, source: Database, database_url: str, tmp_path: Path
) -> None:
    variables = {"DATABASE_URL": database_url, "CONFIG_DIR": str(tmp_path)}
    away = "postgresql://u:hidden-password@127.0.0.1:9/d"
    for url, said in (
        ("", "LEGACY_DATABASE_URL is not set"),
        (away, "cannot be opened"),
        (source_url, "not one of the replaced system"),
        (database_url, "not one of the replaced system"),
    ):
        code, out, err = await run_command(**variables, LEGACY_DATABASE_URL=url)
        assert (code, out, said in err, err.count("\n")) == (1, "", True, 1), err
        assert "hidden" not in err
    code, _, err = await run_command(**variables, LEGACY_DATABASE_URL="mysql://u:hidden@h/d")
    assert (code, "LEGACY_DATABASE_URL" in err, "hidden" in err) == (78, True, False)
    await source.execute(SCHEMA)
    with pytest.raises(LegacyImportError, match="python -m app migrate"):
        await moved(settings_of(database_url=source_url))
