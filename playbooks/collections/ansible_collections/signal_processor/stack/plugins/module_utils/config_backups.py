"""The backups of the operator's configuration: which there are, and whether each is what its manifest says.

Nothing here changes a file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.config_files import (
    MANIFEST,
    OURS,
    open_file,
    open_part_by_part,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure

ABSENT, NO_FILE = "absent", "no file"  # instead of a sum
MODE = re.compile(r"[0-7]{4}")
# A file of a backup that is not there, or has something else in its place.
MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO})


class DamagedError(Exception):
    """A backup cannot be put back; the text says why."""


@dataclass(frozen=True)
class Saved:
    """A file of a backup. `link` instead of a content: it is a link that leads elsewhere."""

    content: bytes = b""
    mode: int = 0
    owner: int = 0
    group: int = 0
    times: tuple[int, int] = (0, 0)  # of the last access and the last change, in nanoseconds
    link: str = ""


def sum_of(content: bytes) -> str:
    """Return the sum that a manifest has of a content."""
    return hashlib.sha256(content).hexdigest()


def read_saved(folder: Path, name: str) -> tuple[bytes, os.stat_result]:
    """Return a file of a backup and what is known of it. Raises DamagedError, and OSError."""
    try:
        descriptor = open_part_by_part(folder, Path(name))
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise DamagedError(f"its {name} is not a file")
        with os.fdopen(descriptor, "rb") as file:
            return file.read(), found
    except OSError as error:
        if error.errno not in MISSING:
            raise
        raise DamagedError(f"it has no {name}") from error


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return what a backup says of itself. Raises DamagedError, and OSError."""
    content, _ = read_saved(folder, MANIFEST)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise DamagedError(f"its {MANIFEST} is not valid JSON") from error
    files = found.get("files") if isinstance(found, dict) else None
    if not isinstance(files, dict) or not all(isinstance(line, dict) for line in files.values()):
        raise DamagedError(f"its {MANIFEST} lists no files")
    return dict(found)


def is_id(value: object) -> bool:
    """Whether a value of a manifest is the number of a user or a group. Pure."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_file(folder: Path, name: str, line: dict[str, Any]) -> Saved:
    """Return a file of a backup that is what its manifest says. Raises DamagedError, and OSError."""
    if "link" in line:
        return Saved(link=str(line["link"]))
    if not (MODE.fullmatch(str(line.get("mode"))) and is_id(line.get("owner")) and is_id(line.get("group"))):
        raise DamagedError(f"its {MANIFEST} does not say the mode and the owner of {name}")
    content, found = read_saved(folder, name)
    if sum_of(content) != line.get("sha256"):
        raise DamagedError(f"its {name} was changed or damaged: the sha256 is not that of {MANIFEST}")
    times = (found.st_atime_ns, found.st_mtime_ns)
    return Saved(content, int(line["mode"], 8), line["owner"], line["group"], times)


def check_backup(folder: Path, known: list[str], *, links: bool = False) -> dict[str, Saved]:
    """Return all files of a backup, each as its manifest says. Raises DamagedError, and OSError.

    Fails closed: a link that leads out of the checkout is refused, unless it is today's own that comes back.
    """
    found = {}
    for name, line in manifest_of(folder)["files"].items():
        if name not in known:
            raise DamagedError(f"its {MANIFEST} names {name}, which is not a configuration file")
        found[name] = check_file(folder, name, line)
        if found[name].link and not links:
            raise DamagedError(f"its {name} is a link out of the checkout, to {found[name].link}")
    if not found:
        raise DamagedError("it has no files")
    return found


def today_of(root: Path, name: str) -> tuple[str, os.stat_result | None, str]:
    """Return the sum, what is known of the file, and the link of what is in a file's place today.

    Instead of a sum ABSENT, or NO_FILE where something else is there. Raises OSError.
    """
    try:
        descriptor = open_file(root, name)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT, None, ""
    if descriptor is None:
        return NO_FILE, None, os.fspath((root / name).readlink())
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        return NO_FILE, None, ""
    with os.fdopen(descriptor, "rb") as file:
        return sum_of(file.read()), found, ""


def says_the_same(line: dict[str, Any] | None, sum_today: str, link: str) -> bool:
    """Whether a line of a manifest, None without one, is about what is there today. Pure."""
    if line is None:
        return sum_today == ABSENT
    return link == line["link"] if "link" in line else sum_today == line.get("sha256")


def describe(root: Path, name: str, known: list[str]) -> dict[str, Any]:
    """Return what the list says of a backup. Raises OSError."""
    folder = root / "backups" / name
    found: dict[str, Any] = {"name": name, "made": "", "flow": "", "run": "", "commit": ""}
    found |= {"differs": [], "without": [], "problem": ""}
    try:
        manifest = manifest_of(folder)
        found |= {key: str(manifest.get(key) or "") for key in ("made", "flow", "run", "commit")}
        for file in known:
            line, (now, _, link) = manifest["files"].get(file), today_of(root, file)
            if not says_the_same(line, now, link):
                found["differs" if line is not None else "without"].append(file)
        check_backup(folder, known)
    except DamagedError as problem:
        found["problem"] = str(problem)
    return found


def names_of(root: Path) -> list[str]:
    """Return the names of all backups, newest first. Raises OSError."""
    try:
        entries = list(os.scandir(root / "backups"))
    except FileNotFoundError:
        return []
    ours = (one.name for one in entries if OURS.fullmatch(one.name) and one.is_dir(follow_symlinks=False))
    return sorted(ours, reverse=True)


def name_in(root: Path, wanted: str, folder: str) -> str:
    """Return what of a path names the backup; a text without a slash is a name already. Empty elsewhere."""
    if "/" not in wanted:
        return wanted
    backups = Path(os.path.realpath(root / "backups"))
    for base in filter(None, (folder, str(root))):
        place = Path(os.path.realpath(Path(base, wanted)))
        if place != backups and backups in place.parents:
            return place.relative_to(backups).parts[0]
    return ""


def choose(root: Path, wanted: str, folder: str) -> str:
    """Return the name of the one backup that is meant. Raises Failure with the list of what there is."""
    names = names_of(root)
    there_is = f"There is: {', '.join(names) or 'no configuration backup yet'}."
    beginning = name_in(root, wanted, folder)
    if not beginning:
        what = f"{wanted} is not in {root / 'backups'}" if wanted else "No backup is named"
        raise Failure(f"{what}. {there_is}")
    found = [name for name in names if name == beginning] or [
        name for name in names if name.startswith(beginning)
    ]
    if len(found) != 1:
        number = f"{len(found)} configuration backups have" if found else "No configuration backup has"
        raise Failure(f"{number} a name that begins with {beginning}. {there_is}")
    return found[0]


def usable(root: Path, name: str, known: list[str]) -> dict[str, Saved]:
    """Return the files of a backup. Raises Failure, and OSError."""
    try:
        return check_backup(root / "backups" / name, known)
    except DamagedError as problem:
        raise Failure(
            f"The configuration backup {name} cannot be put back: {problem}. Choose another one: "
            "python3 run.py --restore-config lists them."
        ) from problem
