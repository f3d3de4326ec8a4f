"""The space for the diagnosis is reserved although the folder for temporary files fills up meanwhile."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from deploy import reserve

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_bytes_and_inodes_are_reserved_and_released(scratch: Path) -> None:
    taken = reserve.Reserve()
    files = [path for path in scratch.rglob("*") if path.is_file()]
    assert len(files) > reserve.INODES
    assert sum(path.stat().st_blocks * 512 for path in files) >= reserve.BYTES
    taken.release()
    taken.release()
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_too_little_space_is_reported_before_anything_begins(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(reserve.NoRoomError, match=str(scratch)):
        reserve.Reserve()
    assert list(scratch.iterdir()) == []
