"""What the modules of the database flows decide without a server."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    import io


def test_a_copy_gets_its_name_only_after_verification(tmp_path: Path) -> None:
    copies = load("module_utils.database_copies")

    def write(file: io.BufferedRandom) -> dict[str, Any]:
        file.write(b"rows")
        return {"signals": 1}

    manifest = copies.make(tmp_path / "a.dump", write, {"flow": "db"})
    assert (manifest["bytes"], manifest["signals"]) == (4, 1)
    assert json.loads((tmp_path / "a.dump.json").read_text()) == manifest
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("content", [b"", b"half"])
def test_a_copy_that_failed_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    copies = load("module_utils.database_copies")

    def write(file: io.BufferedRandom) -> dict[str, Any]:
        file.write(content)
        if content:
            raise copies.CopyError("the server went away")
        return {}

    with pytest.raises(copies.CopyError):
        copies.make(tmp_path / "a.dump", write, {})
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_cannot_get_its_name_leaves_no_manifest(tmp_path: Path) -> None:
    def write(file: io.BufferedRandom) -> dict[str, Any]:
        file.write(b"rows")
        (tmp_path / "a.dump").mkdir()
        return {}

    with pytest.raises(IsADirectoryError):
        load("module_utils.database_copies").make(tmp_path / "a.dump", write, {})
    assert list(tmp_path.iterdir()) == [tmp_path / "a.dump"]


@pytest.mark.parametrize(("restored", "error"), [(0, ""), (1, "its end is missing")])
def test_a_dump_of_the_replaced_system_has_a_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: int, error: str
) -> None:
    """One that cannot be read back leaves nothing, as what a killed run had left."""
    docker = tmp_path / "docker"
    docker.write_text(
        f"""#!/bin/sh
        case "$*" in
        *psql*) echo t;;
        *pg_dump*) printf PGDMP;;
        *--list*) echo ' TABLE DATA public signals ';;
        *--schema-only*) echo '    signal_id text,';;
        *--file=/dev/null*) echo its end is missing >&2; exit {restored};;
        esac"""
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    dumps = tmp_path / "backups" / "legacy"
    dumps.mkdir(parents=True)
    (dumps / "killed.dump.partial").touch()
    source = {"is_running": True, "container": "trading-db", "folder": "/srv/old", "volume": "old"}
    params = {"checkout": str(tmp_path), "source": {**source, "names": ["old"]}, "image": "", "run_id": "r"}
    made = load("legacy_dump").answer(params)["dump"]
    assert made["error"] == error
    if error:
        assert list(dumps.iterdir()) == []
        return
    dump = Path(made["path"])
    manifest = load("module_utils.legacy_dumps").manifest_of(dump)
    assert (manifest["names"], manifest["folder"], manifest["bytes"]) == (["old"], "/srv/old", 5)
    assert manifest["sha256"] == hashlib.sha256(dump.read_bytes()).hexdigest()
    assert {path.name for path in dumps.iterdir()} == {dump.name, f"{dump.name}.json"}


@pytest.mark.parametrize(
    ("records", "destruction", "asked", "unrecorded"),
    [(True, False, True, ""), (False, False, True, "psql: no space"), (True, True, False, None)],
)
def test_a_good_dump_is_recorded_in_the_database(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    records: bool,
    destruction: bool,
    asked: bool,
    unrecorded: str | None,
) -> None:
    """A dump that cannot be recorded is still valid."""
    docker = tmp_path / "docker"
    docker.write_text(
        f"""#!/bin/sh
        case "$*" in
        *"INSERT INTO public.database_backups"*)
            touch {tmp_path}/asked; echo no space >&2; exit {int(not records)};;
        *psql*) echo '{{"signals": 1}}';;
        *--list*) echo ' TABLE DATA public signals ';;
        *pg_dump*) echo rows;;
        esac"""
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    params: dict[str, Any] = {"source": "server", "container": "c", "folder": str(tmp_path / "db")}
    params |= {"flow": "backup", "run_id": "r", "version": "v", "destruction": destruction, "keep": 5}
    made = load("database_backup").answer(params)["backup"]
    assert made["error"] == ""
    assert made.get("unrecorded") == unrecorded
    assert (tmp_path / "asked").exists() is asked


@pytest.mark.parametrize(("made", "goes"), [("3.dump", "1.dump"), ("1.dump", "2.dump")])
def test_which_copies_are_deleted(tmp_path: Path, made: str, goes: str) -> None:
    """The oldest are deleted, but never the new one, whatever its timestamp."""
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
    """Call the module, and return its result."""
    arguments = {
        "checkout": str(path.parent),
        "path": str(path),
        "name": "paused",
        "value": value,
        "look": look,
    }
    return dict(load("json_member").MODULE.call(arguments))


def test_one_member_is_set_and_reset(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("content", ["{", "[]", '{"mine": 1e999}', '{"mine": NaN}'])
def test_a_file_that_is_not_an_object_is_not_changed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    assert "is not a JSON object" in set_member(path, value=True)["msg"]
    assert path.read_text() == content


def test_no_link_with_the_temporary_files_name_is_followed(tmp_path: Path) -> None:
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
    said = set_member(folder / "config.json", value=True)["msg"]
    assert f"is a link, and it leads out of {folder}, to {outside}. Put the file itself there" in said
    assert outside.read_text() == "{}"


@pytest.mark.parametrize(
    "link", ["live.json", "profiles/live.json", "next.json", "profiles/../live.json", "{folder}/live.json"]
)
def test_a_link_that_stays_in_its_folder_is_written_through(tmp_path: Path, link: str) -> None:
    """The link stays; the file that it leads to is changed, and keeps its mode."""
    folder = tmp_path / "config"
    (folder / "profiles").mkdir(parents=True)
    for name in ("live.json", "profiles/live.json"):
        (folder / name).write_text('{"mine": 1}')
        (folder / name).chmod(0o640)
    (folder / "next.json").symlink_to("live.json")
    path = folder / "config.json"
    path.symlink_to(link.format(folder=folder))
    file = path.resolve()
    assert set_member(path, value=True, look=True)["changed"] is True
    assert json.loads(file.read_text()) == {"mine": 1}
    assert set_member(path, value=True) == {"changed": True, "before": None}
    assert (path.is_symlink(), path.resolve()) == (True, file)
    assert json.loads(file.read_text()) == {"mine": 1, "paused": True}
    assert file.stat().st_mode & 0o777 == 0o640
    assert not [*folder.rglob("*.new")]


def test_a_folder_that_is_a_link_is_the_operators_own(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "config").symlink_to("shared")
    (tmp_path / "shared" / "live.json").write_text("{}")
    (tmp_path / "shared" / "config.json").symlink_to(tmp_path / "shared" / "live.json")
    assert set_member(tmp_path / "config" / "config.json", value=True)["changed"] is True
    assert json.loads((tmp_path / "shared" / "live.json").read_text()) == {"paused": True}


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("../../outside.json", "leads out of"),
        ("..", "leads out of"),
        (".", "leads out of"),
        ("config.json", "leads back to itself"),
        ("elsewhere/outside.json", "leads through elsewhere, which is not a folder itself"),
    ],
)
def test_any_other_link_is_refused_by_name(tmp_path: Path, link: str, why: str) -> None:
    """`elsewhere` is a link to a folder outside: root must not write there."""
    folder = tmp_path / "checkout" / "config"
    folder.mkdir(parents=True)
    (tmp_path / "outside.json").write_text("{}")
    (folder / "elsewhere").symlink_to(tmp_path)
    (folder / "config.json").symlink_to(link)
    said = set_member(folder / "config.json", value=True)["msg"]
    assert f"{folder}/config.json is a link, and it {why}" in said
    assert "Put the file itself there, then run this again." in said
    assert (tmp_path / "outside.json").read_text() == "{}"


def test_the_cold_copy_carries_the_runs_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that takes over removes exactly its container."""
    archive = tmp_path / "volume.tar"
    (tmp_path / "docker").write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ntar -C {tmp_path} -cf - docker asked\n'
    )
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with archive.open("w+b") as file:
        assert load("database_backup").copy_volume("the-volume", "image", "a" * 12, file) == {"entries": 2}
    assert f"--label=trading-signal-processor.run={'a' * 12}" in (tmp_path / "asked").read_text().split()
