"""Each cause for which a file cannot be written has its own message, with the correction."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.onhost import causes


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (errno.EACCES, "is closed to the user"),
        (errno.EPERM, "is closed to the user"),
        (errno.ENOSPC, "no space is left"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EISDIR, os.strerror(errno.EISDIR)),
    ],
)
def test_a_sentence_for_each_cause(tmp_path: Path, number: int, named: str) -> None:
    file = tmp_path / "backups" / "db" / "new.dump"
    said = causes.explain(OSError(number, os.strerror(number), str(file)), tmp_path)
    assert str(file) in said
    assert named in said
    assert "\n" not in said
    assert not said.endswith(".")


def test_exhausted_inodes_are_not_reported_as_exhausted_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=100, f_favail=0))
    said = causes.explain(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert "no inodes are left" in said
    assert f"df -i {tmp_path}" in said


def test_a_file_system_that_counts_no_inodes_has_not_used_them_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=0, f_favail=0))
    assert "no space is left" in causes.explain(OSError(errno.ENOSPC, "No space left on device"), tmp_path)


def test_the_owner_is_named_also_for_a_missing_file(tmp_path: Path) -> None:
    said = causes.explain(PermissionError(errno.EACCES, "Permission denied", tmp_path / "a" / "b"), tmp_path)
    assert f"it belongs to {causes.owner(tmp_path)}" in said


def test_a_relative_name_is_reported_as_the_full_path(tmp_path: Path) -> None:
    """Modules work by descriptors; their errors name an entry of a folder, or a path in /proc."""
    said = causes.explain(OSError(errno.ENOSPC, "No space left on device", "new"), tmp_path / "config.json")
    assert str(tmp_path / "config.json") in said
    assert causes.nearest(Path("/nowhere/at/all")) == Path("/")


def test_an_inaccessible_folder_hides_only_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, look = tmp_path / ".run", Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if path.parent == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path, **options)

    closed.mkdir()
    monkeypatch.setattr(Path, "stat", stat)  # root, as whom tests may run, is let in everywhere
    file = closed / "journal.jsonl"
    said = causes.explain(PermissionError(errno.EACCES, "Permission denied", str(file)), closed)
    assert f"{file} is closed to the user" in said
    assert f"it belongs to {closed.owner()}" in said
