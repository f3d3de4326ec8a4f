"""Modes and owners of the stack's folders: for the modules in the collection.

The application's user can write to some of these folders, and this runs as root. So each entry is changed by
a descriptor that was opened without following a link: a link put there meanwhile is never followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# O_PATH needs no permission on the entry itself and wakes no device; only Linux has it.
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)


def tracked(root: Path) -> set[str]:
    """Return what git tracks; a changed mode there would make the tree dirty."""
    argv = ["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z"]
    try:
        return set(subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split("\0"))
    except FileNotFoundError:
        return set()


@contextlib.contextmanager
def opened(name: str, folder: int | None = None) -> Iterator[int]:
    """Open an entry of an open folder, never through a link, to look at it and to change it."""
    descriptor = os.open(name, _OPEN, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def handle(descriptor: int) -> int | str:
    """Return what os.chmod and os.chown take for an entry opened by `opened`."""
    return f"/proc/self/fd/{descriptor}" if hasattr(os, "O_PATH") else descriptor


def entries(root: Path, name: str, skip: Sequence[str] = ()) -> Iterator[tuple[str, str, int | None]]:
    """Yield path below the root, name and open folder of what lies at a path and below; links are left out.

    `skip` are patterns of folders directly in it that are passed over. The folder's descriptor is open until
    the next entry is asked for.
    """
    try:
        now = (root / name).lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(now.st_mode):
        return
    yield name, str(root / name), None
    if stat.S_ISDIR(now.st_mode):
        for folder, folders, files, descriptor in os.fwalk(root / name):
            below = os.path.relpath(folder, root)
            if below == name:
                folders[:] = [one for one in folders if not any(fnmatch(one, pattern) for pattern in skip)]
            yield from ((os.path.join(below, one), one, descriptor) for one in [*folders, *files])  # noqa: PTH118  # the text of a path


def apply(path: str, name: str, folder: int | None, rule: dict[str, Any], *, check: bool) -> bool:
    """Bring one entry in line; return whether it was not.

    Links, sockets and what ended meanwhile are left as they are, and so is a file with a second name: that
    one may lie elsewhere.
    """
    try:
        with opened(name, folder) as descriptor:
            now = os.fstat(descriptor)
            is_folder = stat.S_ISDIR(now.st_mode)
            if not is_folder and (not stat.S_ISREG(now.st_mode) or now.st_nlink != 1):
                return False
            wanted = int(rule["folders"] if is_folder else rule["files"], 8)
            owner = int(rule.get("owner", -1))
            wrong_mode, wrong_owner = stat.S_IMODE(now.st_mode) != wanted, owner not in (-1, now.st_uid)
            if not check and wrong_owner:
                os.chown(handle(descriptor), owner, owner)
            if not check and wrong_mode:
                os.chmod(handle(descriptor), wanted)  # noqa: PTH101  # a descriptor, not a path
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link, where descriptors cannot stand for one
            return False
        raise OSError(error.errno, error.strerror, path) from error
    return wrong_mode or wrong_owner


def in_line(root: Path, rules: list[dict[str, Any]], *, check: bool) -> list[str]:
    """Bring all that the rules name in line; return what was not. What git tracks is left as it is."""
    kept = tracked(root)
    return [
        path
        for rule in rules
        for path, name, folder in entries(root, rule["path"], rule.get("skip", ()))
        if path not in kept and apply(str(root / path), name, folder, rule, check=check)
    ]
