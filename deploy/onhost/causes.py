"""Why a file could not be written, or a program failed: for the modules and for run.py."""

from __future__ import annotations

import errno
import getpass
import os
import pwd
from pathlib import Path


def nearest(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists and may be looked at."""
    return next((one for one in (path, *path.parents) if _is_seen(one)), Path("/"))


def _is_seen(path: Path) -> bool:
    try:
        path.stat()
    except OSError:  # also where a folder above is closed: Path.exists raises there
        return False
    return True


def owner(path: Path) -> str:
    """Return the name of the user whom a path belongs to, or its number where it has no name."""
    number = nearest(path).stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def inodes_are_used_up(path: Path) -> bool:
    """Whether the file system has no room for another file, though perhaps for more bytes."""
    found = os.statvfs(nearest(path))
    return found.f_files > 0 and found.f_favail == 0


def user() -> str:
    """Return the name of this process's user, or its number where it has no name, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def explain(error: OSError, where: Path) -> str:
    """Return what went wrong and what to do, without a full stop; `where` if the error names no path."""
    named = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    path = Path(named) if named.startswith("/") else where
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{path} is closed to the user {user()}, it belongs to {owner(path)}: "
            f"run this as {owner(path)}, or with sudo"
        )
    if error.errno == errno.ENOSPC and inodes_are_used_up(path):
        return (
            f"no inodes are left for {path}: remove files, df -i {nearest(path)} shows how many there may be"
        )
    if error.errno == errno.ENOSPC:
        return f"no space is left for {path}: free some, df -h {nearest(path)} shows how much there is"
    if error.errno == errno.EDQUOT:
        return f"the disk quota of the user {user()} is used up at {path}: free some, quota -s shows how much"
    if error.errno == errno.EROFS:
        return f"{path} is on a file system that is mounted read-only: see findmnt --target {nearest(path)}"
    return f"{path}: {error.strerror or error}"


def last_line(stderr: bytes, code: int) -> str:
    """Return the last line that a program wrote, or its exit code. Pure."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {code}"
