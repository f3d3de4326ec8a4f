"""The files that an image is built from: the same for one commit, whatever a checkout's modes and line ends.

In a clone they are taken as git stores them, edits and new files included; what git ignores is left out, as
it is left out of the version. In an exported tree they are the tree's own. Modes are 0755 and 0644 in both.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from ansible_collections.signal_processor.stack.plugins.module_utils.git_checkout import (
    git,
    holds,
    names,
    text,
)

PATHS = (".dockerignore", "Dockerfile", "app", "images/venv.sh", "requirements")
GENERATED = "__pycache__"


def is_clone(root: Path) -> bool:
    """Whether the folder is a clone itself, not only part of one, and has a commit."""
    return (
        holds(root, "rev-parse", "HEAD")
        and Path(text(root, "rev-parse", "--show-toplevel")) == root.resolve()
    )


def stored(root: Path, scratch: Path) -> bytes:
    """Return a tar archive of the paths as git would commit them now; the clone stays as it is.

    The new objects and the index lie in `scratch`. Without edits it is the commit itself, with its time.
    """
    objects = text(root, "rev-parse", "--path-format=absolute", "--git-path", "objects")
    (scratch / "objects").mkdir()
    beside = {
        "GIT_INDEX_FILE": str(scratch / "index"),
        "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
    }
    git(root, "read-tree", "HEAD", environment=beside)
    known = [
        name for name in PATHS if (root / name).exists() or names(root, "ls-tree", "-z", "HEAD", "--", name)
    ]
    git(root, "-c", "core.fileMode=false", "add", "--all", "--", *known, environment=beside)
    tree = git(root, "write-tree", environment=beside).decode().strip()
    commit = "HEAD" if tree == text(root, "rev-parse", "HEAD^{tree}") else tree
    listed = git(root, "ls-tree", "-r", "-z", "--name-only", tree, "--", *PATHS, environment=beside)
    as_stored = ("-c", "core.autocrlf=false", "-c", "core.eol=lf")
    paths = [os.fsdecode(name) for name in listed.split(b"\0")[:-1]]
    return git(root, *as_stored, "archive", "--format=tar", commit, "--", *paths, environment=beside)


def mode_of(mode: int) -> int:
    """Return the mode of a file in the image: whether it can be run is all that counts."""
    return 0o755 if mode & 0o100 else 0o644


def unpack(archive: bytes, folder: Path) -> None:
    """Lay the files of a tar archive out in a folder."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if member.issym():
                target.symlink_to(member.linkname)
            elif (file := tar.extractfile(member)) is not None:
                target.write_bytes(file.read())
                target.chmod(mode_of(member.mode))
                os.utime(target, (member.mtime, member.mtime))


def copy(root: Path, folder: Path) -> None:
    """Copy the files of a tree that is not a clone."""
    for name in PATHS:
        found = [root / name] if (root / name).is_file() else (root / name).rglob("*")
        for path in found:
            target = folder / path.relative_to(root)
            if GENERATED in path.parts or (path.is_dir() and not path.is_symlink()):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
            if not path.is_symlink():
                target.chmod(mode_of(path.stat().st_mode))


def lay_out(root: Path, folder: Path) -> None:
    """Fill an empty folder with what the image is built from. Raises GitError and OSError."""
    if is_clone(root):
        with tempfile.TemporaryDirectory() as scratch:
            unpack(stored(root, Path(scratch)), folder)
    else:
        copy(root, folder)
    # A umask takes from the modes of new folders.
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
