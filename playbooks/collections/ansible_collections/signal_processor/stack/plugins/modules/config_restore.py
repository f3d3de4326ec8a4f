"""List the backups of the operator's configuration, and put one back.

A module of ours and not `copy` with `remote_src`: the application's user can write to config/, and `copy`
follows the links there. Nor does it write all files before it replaces the first one, or sync them.
"""

from __future__ import annotations

import contextlib
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
    LINKS,
    MANIFEST,
    OURS,
    open_file,
    open_folder,
    open_part_by_part,
    where_to,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import explain

DOCUMENTATION = """
module: config_restore
short_description: The backups of the operator's configuration, and the way back to one
description:
  - C(state=listed) leaves all backups in C(host_report.config_backups), newest first, with the names of the
    files that differ from today's. Nothing of their contents is returned.
  - C(state=chosen) checks one against its manifest and returns it as C(choice). It changes nothing.
  - C(state=placed) replaces today's files by those of C(backup). A kill leaves each file as it was or as in
    the backup, and the same again finishes it.
  - C(state=undone) puts back what C(today) has of the files in C(backup), after C(placed).
options:
  path: {type: path, required: true, description: The checkout.}
  files: {type: list, elements: str, required: true, description: The operator's files below the checkout.}
  state: {type: str, choices: [listed, chosen, placed, undone], required: true, description: What to do.}
  wanted: {type: str, default: "", description: "A name, the beginning of it, or a path in backups/."}
  folder: {type: path, default: "", description: Where such a path begins; otherwise at the checkout.}
  backup: {type: str, default: "", description: The name of the backup.}
  today: {type: str, default: "", description: The name of the backup that was made of today's files.}
"""

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


@dataclass(frozen=True)
class Prepared:
    """A file that is written and not yet in its place. `folder` is open."""

    name: str
    folder: int
    place: str
    beside: str  # empty: there was no file, so what is in the place goes


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


def is_in_place(root: Path, name: str, file: Saved) -> bool:
    """Whether today's file, as the application reads it, is that of the backup. Raises OSError."""
    now, found, link = today_of(root, name)
    if file.link or found is None:
        return bool(file.link) and link == file.link
    is_owned = os.geteuid() != 0 or (found.st_uid, found.st_gid) == (file.owner, file.group)
    return is_owned and (now, stat.S_IMODE(found.st_mode)) == (sum_of(file.content), file.mode)


def place_of(root: Path, name: str) -> str:
    """Return where a file of today is replaced: in its own place, or where a link in it leads.

    Only a link to a file in the same folder or below is followed, and stays. Any other is replaced by the
    file: the application's user can make links in config/, and this may run as root.
    """
    place = name
    for _ in range(LINKS):
        now = root / place
        if not now.is_symlink():
            return place if now.is_file() else name
        place = where_to(root, place)
        folders = list(Path(place).parents)[:-2]  # without the operator's own and the checkout
        if Path(name).parent not in Path(place).parents or any((root / one).is_symlink() for one in folders):
            return name
    return name


def prepare(root: Path, name: str, file: Saved | None) -> Prepared:
    """Write a file next to its place, onto the disk; None if the file is to be removed. Raises OSError."""
    target = Path(place_of(root, name))
    beside = beside_of(target)
    folder = open_folder(root, target.parent)
    try:
        remove_leftover(beside, folder)
        if file is None:
            return Prepared(name, folder, target.name, "")
        if file.link:
            os.symlink(file.link, beside, dir_fd=folder)
            return Prepared(name, folder, target.name, beside)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        with os.fdopen(os.open(beside, flags, 0o600, dir_fd=folder), "wb") as written:
            written.write(file.content)
            written.flush()
            if os.geteuid() == 0:
                os.fchown(written.fileno(), file.owner, file.group)
            os.fchmod(written.fileno(), file.mode)
            os.utime(written.fileno(), ns=file.times)
            os.fsync(written.fileno())
    except OSError:
        remove_leftover(beside, folder)
        os.close(folder)
        raise
    return Prepared(name, folder, target.name, beside)


def beside_of(target: Path) -> str:
    """Return the name under which a file is written before it is put in its place; git ignores it. Pure."""
    return f".{target.name.lstrip('.')}.new"


def remove_leftover(beside: str, folder: int) -> None:
    """Remove what was written and not put in its place."""
    with contextlib.suppress(OSError):
        os.unlink(beside, dir_fd=folder)


def remove_leftovers(root: Path, name: str) -> None:
    """Remove what a killed run wrote for a file that is in place now. Raises OSError."""
    target = Path(place_of(root, name))
    folder = open_folder(root, target.parent)
    try:
        remove_leftover(beside_of(target), folder)
    finally:
        os.close(folder)


def replace(root: Path, files: dict[str, Saved | None], today: dict[str, Any]) -> list[str]:
    """Put files in their places, each by one rename, once all are written; return the names of those.

    `today` are the lines of the backup of today's files. Raises Failure where one was changed since, with
    nothing replaced, and OSError.
    """
    prepared: list[Prepared] = []
    try:
        for name, file in files.items():
            if file is not None and is_in_place(root, name, file):
                remove_leftovers(root, name)
            else:
                prepared.append(prepare(root, name, file))
        for one in prepared:
            now, _, link = today_of(root, one.name)
            if not says_the_same(today.get(one.name), now, link):
                raise Failure(
                    f"{root / one.name} was changed while this run was at work, for example on the page. "
                    "Nothing was put back. Run this again."
                )
        for one in prepared:
            if one.beside:
                os.rename(one.beside, one.place, src_dir_fd=one.folder, dst_dir_fd=one.folder)
            else:
                os.unlink(one.place, dir_fd=one.folder)
            os.fsync(one.folder)
    finally:
        for one in prepared:
            remove_leftover(one.beside, one.folder)
            os.close(one.folder)
    return [one.name for one in prepared]


def check_places(root: Path, names: list[str]) -> list[str]:
    """Return which files to replace are links that do not stay, and to what. Raises Failure, OSError."""
    links = []
    for name in names:
        now, _, link = today_of(root, name)
        if now == NO_FILE and not link:
            raise Failure(f"{root / name} is not a file. Move it away, then run this again.")
        if (root / name).is_symlink() and place_of(root, name) == name:
            links.append(f"{name} to {(root / name).readlink()}")
    return links


def checked(root: Path, name: str, known: list[str]) -> dict[str, Saved]:
    """Return the files of a backup. Raises Failure, and OSError."""
    try:
        return check_backup(root / "backups" / name, known)
    except DamagedError as problem:
        raise Failure(
            f"The configuration backup {name} cannot be put back: {problem}. Choose another one: "
            "python3 run.py --restore-config lists them."
        ) from problem


def look(root: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Return the backup that is wanted, and what putting it back comes to. Raises Failure, and OSError."""
    known = params["files"]
    name = choose(root, params["wanted"], params["folder"])
    files = checked(root, name, known)
    changes = [one for one, file in files.items() if not is_in_place(root, one, file)]
    return {
        "name": name,
        "files": list(files),
        "changes": changes,
        "without": [one for one in known if one not in files and os.path.lexists(root / one)],
        "links": check_places(root, changes),
        "settings": str(root / "backups" / name if ".env" in files else root),
    }


def undo(root: Path, params: dict[str, Any]) -> list[str]:
    """Put today's files back in the places that a backup's took. Raises Failure, DamagedError, OSError."""
    names = checked(root, params["backup"], params["files"])
    today = check_backup(root / "backups" / params["today"], params["files"], links=True)
    lines = manifest_of(root / "backups" / params["backup"])["files"]
    in_place = {name: today_of(root, name) for name in names}
    ours = {name for name, (now, _, link) in in_place.items() if says_the_same(lines[name], now, link)}
    files = {name: today.get(name) for name in names if name in ours}
    return replace(root, files, lines)


def carry_out(root: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Do what `state` asks for. Raises Failure, DamagedError, OSError."""
    state, known = params["state"], params["files"]
    if state == "listed":
        backups = [describe(root, name, known) for name in names_of(root)]
        return {"changed": False, "ansible_facts": {"host_report": {"config_backups": backups}}}
    if state == "chosen":
        return {"changed": False, "choice": look(root, params)}
    if state == "undone":
        return {"changed": bool(undone := undo(root, params)), "placed": undone}
    files: dict[str, Saved | None] = {**checked(root, params["backup"], known)}
    placed = replace(root, files, manifest_of(root / "backups" / params["today"])["files"])
    return {"changed": bool(placed), "placed": placed}


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Do it. Raises Failure."""
    root = Path(params["path"])
    # A list changes nothing, whatever its play is named.
    facts = {"host_report": {"unchanged": True}} if params["state"] == "listed" else {}
    try:
        return carry_out(root, params)
    except DamagedError as problem:
        raise Failure(
            f"The backup of today's files {params['today']} cannot be used: {problem}."
        ) from problem
    except OSError as error:
        raise Failure(f"{explain(error, root)}. Then run this again.", facts) from error


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "files": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": ["listed", "chosen", "placed", "undone"], "required": True},
        "wanted": {"type": "str", "default": ""},
        "folder": {"type": "path", "default": ""},
        "backup": {"type": "str", "default": ""},
        "today": {"type": "str", "default": ""},
    },
    required_if=[("state", state, ("backup", "today")) for state in ("placed", "undone")],
    fenced=lambda params: str(params["path"]) if params["state"] in {"placed", "undone"} else "",
)


if __name__ == "__main__":
    MODULE.run()
