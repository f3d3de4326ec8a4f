"""What the modules of the database flows decide without a server."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    import io
    from pathlib import Path


def test_a_copy_has_its_name_only_when_it_is_good(tmp_path: Path) -> None:
    backup = load("database_backup")

    def write(file: io.BufferedRandom) -> dict[str, Any]:
        file.write(b"rows")
        return {"signals": 1}

    manifest = backup.make(tmp_path / "a.dump", write, {"flow": "db"})
    assert (manifest["bytes"], manifest["signals"]) == (4, 1)
    assert json.loads((tmp_path / "a.dump.json").read_text()) == manifest
    assert (tmp_path / "a.dump").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"half"])
def test_a_copy_that_failed_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    backup = load("database_backup")

    def write(file: io.BufferedRandom) -> dict[str, Any]:
        file.write(content)
        if content:
            raise backup.BackupError("the server went away")
        return {}

    with pytest.raises(backup.BackupError):
        backup.make(tmp_path / "a.dump", write, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("made", "goes"), [("3.dump", "1.dump"), ("1.dump", "2.dump")])
def test_what_is_tidied_away(tmp_path: Path, made: str, goes: str) -> None:
    """The oldest, but never the one just made, whatever time it bears."""
    for number in range(4):
        (tmp_path / f"{number}.dump").touch()
        (tmp_path / f"{number}.dump.json").write_text(json.dumps({"before_destruction": number == 0}))
    (tmp_path / "unreadable.dump.json").write_text("{")
    for name, age in (("now.partial", 0), ("old.partial", 3600)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert sorted(load("database_backup").tidy(tmp_path, 2, made)) == [goes, f"{goes}.json", "old.partial"]
    assert not (tmp_path / goes).exists()
    assert (tmp_path / "0.dump").exists()


def test_migrations_are_read_whatever_the_columns_order() -> None:
    archive = load("database_archive")
    script = (
        "SET x;\nCOPY public._pogo_migration (applied, migration_id) FROM stdin;\n"
        "2026-01-01\tone\n2026-01-02\ttwo\n\\.\n\nSELECT 1;\n"
    )
    assert archive.migrations_in(script) == {"one", "two"}
    with pytest.raises(archive.ArchiveError):
        archive.migrations_in("SELECT 1;")


def set_member(path: Path, *, value: object, look: bool = False) -> dict[str, Any]:
    """What the module answers."""
    arguments = {
        "checkout": str(path.parent),
        "path": str(path),
        "name": "paused",
        "value": value,
        "look": look,
    }
    return dict(load("json_member").MODULE.call(arguments))


def test_one_member_is_set_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"mine": "é", "n": 1.50}')
    path.chmod(0o640)
    assert set_member(path, value=True, look=True)["changed"] is True
    assert path.read_text() == '{"mine": "é", "n": 1.50}'
    assert set_member(path, value=True)["before"] is None
    assert json.loads(path.read_text("utf-8")) == {"mine": "é", "n": 1.5, "paused": True}
    assert path.stat().st_mode & 0o777 == 0o640
    assert set_member(path, value=True)["changed"] is False
    assert set_member(path, value=None)["before"] is True
    assert json.loads(path.read_text("utf-8")) == {"mine": "é", "n": 1.5}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_file_that_is_no_object_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    assert "is not a JSON object" in set_member(path, value=True)["msg"]
    assert path.read_text() == content


def test_no_link_beside_the_file_is_followed(tmp_path: Path) -> None:
    """The application's user can write to config/, and this runs as root."""
    folder, outside = tmp_path / "config", tmp_path / "outside"
    folder.mkdir()
    outside.write_text("{}")
    outside.chmod(0o600)
    (folder / "config.json").write_text("{}")
    (folder / "config.json").chmod(0o644)
    (folder / ".config.json.new").symlink_to(outside)
    assert set_member(folder / "config.json", value=True)["changed"] is True
    assert (outside.read_text(), outside.stat().st_mode & 0o777) == ("{}", 0o600)
    assert json.loads((folder / "config.json").read_text()) == {"paused": True}

    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(outside)
    assert "is a link" in set_member(folder / "config.json", value=True)["msg"]
    assert outside.read_text() == "{}"
