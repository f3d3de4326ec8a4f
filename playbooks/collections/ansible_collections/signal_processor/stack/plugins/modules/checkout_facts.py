"""Look at the checkout that is deployed: which version it is and what it lacks. Changes nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.signal_processor.stack.plugins.module_utils import git_checkout
from ansible_collections.signal_processor.stack.plugins.module_utils.build_context import is_clone
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCUMENTATION = """
module: checkout_facts
short_description: Version of a checkout, and which files and folders are missing
description: [Returns what it found.]
options:
  path: {type: path, required: true, description: The checkout.}
  required: {type: list, elements: str, default: [], description: Paths the flow cannot do without.}
  expected: {type: list, elements: str, default: [], description: Paths the flow makes where missing.}
  configuration: {type: list, elements: str, default: [], description: The operator's files; never edits.}
"""


HASHED = ("Dockerfile", "requirements", "app")  # what the version is made from without git
ASIDE = ".run/aside"  # where an update that was killed half-way left the operator's files


def git(root: Path, *argv: str) -> bytes | None:
    """Run git in the checkout whoever owns it; None where it fails or is not installed."""
    try:
        return git_checkout.git(root, *argv)
    except git_checkout.GitError:
        return None


def digest_of(root: Path, names: list[str], start: bytes = b"") -> str:
    """Hash names and contents, so that equal trees get equal versions wherever they lie."""
    digest = hashlib.sha256(start)
    for name in sorted(names):
        file = root / name
        digest.update(name.encode() + b"\0")
        if file.is_symlink():
            digest.update(str(file.readlink()).encode())
        elif file.is_file():
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def version_of(root: Path, hashed: Sequence[str], configuration: Sequence[str] = ()) -> str:
    """Return the version as docs/architecture.md defines it: COMMIT, COMMIT-dirty-HASH or tree-HASH."""
    if not is_clone(root):
        files = [
            path
            for name in hashed
            for path in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))
        ]
        names = [
            str(path.relative_to(root))
            for path in files
            if path.is_file() and "__pycache__" not in path.parts
        ]
        return f"tree-{digest_of(root, names)[:12]}"
    # A commit may track the operator's files by mistake; what they say is no part of the version.
    own = [f":(exclude,top,literal){name}" for name in configuration]
    changes = git(root, "diff", "--binary", "--no-ext-diff", "HEAD", "--", ":/", *own) or b""
    untracked = (
        (git(root, "ls-files", "-z", "--others", "--exclude-standard") or b"").decode().split("\0")[:-1]
    )
    suffix = f"-dirty-{digest_of(root, untracked, changes)[:8]}" if changes or untracked else ""
    return git_checkout.text(root, "rev-parse", "--short=12", "HEAD") + suffix


def absent(root: Path, names: list[str]) -> list[str]:
    """Return the names that are not there; a trailing slash asks for a folder."""
    return [
        name
        for name in names
        if not ((root / name).is_dir() if name.endswith("/") else (root / name).is_file())
    ]


def in_the_way(root: Path, names: list[str]) -> list[str]:
    """Say what stands where a file or a folder (trailing slash) has to be made."""
    return [
        f"{root / name} is no {'folder' if name.endswith('/') else 'file that can be read'}"
        for name in names
        if os.path.lexists(root / name)
    ]


def windows_scripts(root: Path) -> list[str]:
    """Return the tracked scripts with Windows line endings, which no shell can run."""
    names = (
        (git(root, "ls-files", "-z", "--", "*.sh") or b"").decode(errors="surrogateescape").split("\0")[:-1]
    )
    return [name for name in names if (root / name).is_file() and b"\r\n" in (root / name).read_bytes()]


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Look at the checkout. Raises Failure."""
    root = Path(params["path"])
    if not root.is_dir():
        raise Failure(
            f"There is no checkout at {root} (project_dir). Clone the project there, then run this again."
        )
    expected = absent(root, params["expected"])
    if blocked := in_the_way(root, expected):
        raise Failure(f"{'; '.join(blocked)}. Move it away or put it right, then run this again.")
    found = {
        "path": str(root),
        "real_path": str(root.resolve()),
        "missing": absent(root, params["required"]),
        # What lies aside comes back before anything is made anew.
        "to_make": [name for name in expected if not (root / ASIDE / name).exists()],
        "version": version_of(root, HASHED, params["configuration"]),
        "commit": (git(root, "rev-parse", "HEAD") or b"").decode().strip(),
        "aside": (root / ASIDE).is_dir(),
        "windows_scripts": windows_scripts(root),
    }
    return {"changed": False, **found}


NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}

MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "required": NAMES,
        "expected": NAMES,
        "configuration": NAMES,
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
