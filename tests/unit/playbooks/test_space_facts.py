"""Free space is measured in bytes and in inodes, in every folder that a flow writes to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.playbooks.modules import load

MEGABYTE = 1 << 20


def full(monkeypatch: pytest.MonkeyPatch, *, of: str, free: int = 1 << 40, inodes: int = 10**6) -> None:
    """Put one folder on a file system of its own, with little free space."""
    real = os.statvfs

    def statvfs(path: Any) -> Any:
        if str(path).startswith(of):
            return SimpleNamespace(f_bavail=free // 4096, f_frsize=4096, f_files=10**6, f_favail=inodes)
        return real(path)

    monkeypatch.setattr(os, "statvfs", statvfs)


def short(root: Path, **changes: Any) -> list[str]:
    """Return the module's findings for a checkout on a machine without Docker."""
    arguments = {
        "places": [str(root / "backups"), str(root / ".run")],
        "otherwise": str(root),
        "database": "no-such-container",
        "bytes": 1,
        "inodes": 1,
        "image_bytes": 1,
        **changes,
    }
    return list(load("space_facts").MODULE.call(arguments)["short"])


@pytest.fixture(autouse=True)
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load("space_facts"), "docker", lambda *_: "")


def test_enough_space(tmp_path: Path) -> None:
    assert short(tmp_path) == []


@pytest.mark.parametrize("place", ["backups", ".run"])
def test_a_place_without_bytes_or_inodes_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / place).mkdir()
    full(monkeypatch, of=f"{tmp_path}/{place}", free=MEGABYTE)
    (said,) = short(tmp_path, bytes=2 * MEGABYTE)
    assert f"{tmp_path}/{place} has 1.0 MB free and 2.0 MB are needed" in said
    full(monkeypatch, of=f"{tmp_path}/{place}", inodes=0)
    (said,) = short(tmp_path)
    assert f"{tmp_path}/{place} has 0 inodes left and 1 are needed" in said


def test_the_folders_for_temporary_files_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/var/lib/scratch")
    for folder in ("/var/lib", "/tmp"):  # noqa: S108  # the name of the place, nothing is written
        full(monkeypatch, of=folder, inodes=0)
        assert any(said.startswith(folder) for said in short(Path("/etc")))


def test_an_image_and_the_database_count_where_docker_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = load("space_facts")
    answers = {"exec": "1024\t/var/lib", "info": str(tmp_path)}
    monkeypatch.setattr(space, "docker", lambda command, *_: answers[command])
    full(monkeypatch, of=str(tmp_path), free=MEGABYTE)
    assert "1.5 MB are needed" in short(tmp_path, database_share=1.5)[0]
    assert "4.0 MB are needed" in short(tmp_path, database_share=1.5, image_bytes=4 * MEGABYTE)[0]
    assert short(tmp_path, database_share=0.5) == []
