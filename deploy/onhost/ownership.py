"""What is made in somebody's checkout belongs to its owner, also where run.py runs with sudo."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def _below(path: Path) -> Iterator[Path]:
    """Yield a path and all below it; links are yielded, not followed."""
    yield path
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            yield from (Path(folder, name) for name in (*folders, *files))


def hand_over(checkout: Path, *paths: Path, deep: bool = True) -> None:
    """Give what root made at these paths, as far as it exists, to the owner of the checkout.

    With `deep` also what lies below. Nothing changes for another user, in a checkout of root's own, and for
    what belongs to somebody else. Only for folders that nobody else writes to: a path is followed down to its
    last part. Raises OSError.
    """
    owner = checkout.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for path in paths:
        for entry in _below(path) if deep else (path,):
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                if entry.lstat().st_uid == 0:
                    os.chown(entry, owner.st_uid, owner.st_gid, follow_symlinks=False)


def hand_over_all(checkout: Path) -> None:
    """Give what a run as root has made in somebody's checkout to its owner. Raises OSError.

    In the folders that the application's user writes to, only what lies directly in them: no path leads
    through a folder that somebody else could replace meanwhile.
    """
    hand_over(checkout, *(checkout / name for name in (".run", "backups", ".venv")))
    shared = [checkout / name for name in ("config", "data", "logs")]
    found = [
        entry
        for folder in shared
        if folder.is_dir() and not folder.is_symlink()
        for entry in folder.iterdir()
    ]
    hand_over(checkout, checkout / ".env", *shared, *found, deep=False)
