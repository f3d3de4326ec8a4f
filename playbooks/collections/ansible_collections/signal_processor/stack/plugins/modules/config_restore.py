"""List the backups of the operator's configuration, and put one back.

A module of ours and not `copy` with `remote_src`: the application's user can write to config/, and `copy`
follows the links there. Nor does it write all files before it replaces the first one, or sync them.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.config_backups import (
    NO_FILE,
    DamagedError,
    Saved,
    check_backup,
    choose,
    describe,
    manifest_of,
    names_of,
    says_the_same,
    sum_of,
    today_of,
    usable,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.config_files import (
    LINKS,
    open_folder,
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


@dataclass(frozen=True)
class Prepared:
    """A file that is written and not yet in its place. `folder` is open."""

    name: str
    folder: int
    place: str
    beside: str  # empty: there was no file, so what is in the place goes


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


def look(root: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Return the backup that is wanted, and what putting it back comes to. Raises Failure, and OSError."""
    known = params["files"]
    name = choose(root, params["wanted"], params["folder"])
    files = usable(root, name, known)
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
    names = usable(root, params["backup"], params["files"])
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
    files: dict[str, Saved | None] = {**usable(root, params["backup"], known)}
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
