"""Modes and owners of the stack's folders (SPEC §6): for the modules in playbooks/library."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def tracked(root: Path) -> set[str]:
    """Return what git tracks; a changed mode there would make the tree dirty."""
    argv = ["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z"]
    try:
        return set(subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split("\0"))
    except FileNotFoundError:
        return set()


def entries(path: Path) -> Iterator[Path]:
    """Yield the path and everything below it; links are neither followed nor yielded."""
    if path.is_symlink() or not path.exists():
        return
    yield path
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            yield from (
                entry for name in [*folders, *files] if not (entry := Path(folder, name)).is_symlink()
            )


def apply(entry: Path, rule: dict[str, Any], *, check: bool) -> bool:
    """Bring one entry in line; return whether it was not. A file that ends meanwhile is nobody's business."""
    try:
        now = entry.stat()
        wanted = int(rule["folders"] if stat.S_ISDIR(now.st_mode) else rule["files"], 8)
        owner = int(rule.get("owner", -1))
        wrong_mode, wrong_owner = stat.S_IMODE(now.st_mode) != wanted, owner not in (-1, now.st_uid)
        if not check and wrong_mode:
            entry.chmod(wanted)
        if not check and wrong_owner:
            os.chown(entry, owner, owner)
    except FileNotFoundError:
        return False
    return wrong_mode or wrong_owner


def in_line(root: Path, rules: list[dict[str, Any]], *, check: bool) -> list[str]:
    """Bring all that the rules name in line; return what was not. What git tracks is left alone."""
    kept = tracked(root)
    return [
        name
        for rule in rules
        for entry in entries(root / rule["path"])
        if (name := str(entry.relative_to(root))) not in kept and apply(entry, rule, check=check)
    ]
