"""The operator's configuration files and their backups: for the modules in the collection."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

MANIFEST = "manifest.json"  # of a backup; written last
OURS = re.compile(r"\d{8}T\d{6}Z-[\w-]+")  # the name of a backup
READ = os.O_RDONLY | os.O_NONBLOCK
LINKS = 8  # that are followed, one to the next


def open_inside(root: Path, name: str) -> int | None:
    """Open a file below a folder of the checkout, also through links; None where a link leads elsewhere.

    The application's user can write to these folders, and this runs as root. So each part of the path below
    the first is opened by itself, and a part that is replaced by a link meanwhile leads nowhere else.
    """
    for links in range(LINKS):
        try:
            found = open_part_by_part(root, Path(name))
        except OSError as error:
            if error.errno == errno.ELOOP and (target := where_to(root, name)):
                name = target
                continue
            if error.errno == errno.ELOOP or (links and error.errno in (errno.ENOENT, errno.ENOTDIR)):
                return None
            raise
        if links and not stat.S_ISREG(os.fstat(found).st_mode):
            os.close(found)
            return None
        return found
    return None


def open_part_by_part(root: Path, path: Path) -> int:
    """Open a file whose path has no link below its first part: that one is the operator's. Raises OSError."""
    folder = open_folder(root, path.parent)
    try:
        return os.open(path.name, READ | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


def open_folder(root: Path, path: Path) -> int:
    """Open a folder below the checkout in the same way. Raises OSError."""
    first, *parts = path.parts or (".",)
    folder = os.open(root / first, os.O_RDONLY | os.O_DIRECTORY)
    for part in parts:
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def open_file(root: Path, name: str) -> int | None:
    """Open one of the operator's files; None where it is a link that is not followed. Raises OSError.

    .env is where only the operator writes, so its links are followed wherever they lead.
    """
    if "/" in name:
        return open_inside(root, name)
    try:
        return os.open(root / name, READ)
    except FileNotFoundError:
        if (root / name).is_symlink():
            return None
        raise


def where_to(root: Path, name: str) -> str:
    """Return where a link leads to, relative to the checkout; empty where that is outside."""
    place = root / name
    whole = Path(os.path.normpath(place.parent / place.readlink()))
    if whole == root or not whole.is_relative_to(root):
        return ""
    target, (folder, *below) = whole.relative_to(root), Path(name).parts
    # Up from a folder that is a link itself is elsewhere.
    return "" if below and target.parts[0] != folder and (root / folder).is_symlink() else str(target)
