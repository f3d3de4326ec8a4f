"""A copy of a database in a file: it gets its name when it is whole, after its manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PIECE = 1 << 20


class CopyError(Exception):
    """The copy could not be made or is not good; one line that says why."""


def manifest_path(copy: Path) -> Path:
    """Return where the manifest of a copy is. Pure."""
    return copy.with_name(f"{copy.name}.json")


def digest_of(file: BinaryIO) -> str:
    """Return the sha256 of the whole file."""
    file.seek(0)
    digest = hashlib.sha256()
    for piece in iter(lambda: file.read(_PIECE), b""):
        digest.update(piece)
    return digest.hexdigest()


def _size_of(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise CopyError("what came out is empty")
    return size


@contextlib.contextmanager
def _named_when_whole(target: Path) -> Iterator[BinaryIO]:
    """Write to `.partial`, 0600; it gets its name when the block ends well, and is removed otherwise."""
    partial = target.with_name(f"{target.name}.partial")
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b") as file:
        try:
            yield file
            os.fsync(file.fileno())
            partial.rename(target)
        except BaseException:
            partial.unlink()
            raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make(target: Path, write: Callable[[BinaryIO], dict[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """Make a copy and its manifest; return the manifest. A failure leaves neither. Raises CopyError.

    `write` fills the file and returns facts for the manifest.
    """
    manifest_file = manifest_path(target)
    try:
        with _named_when_whole(target) as file:
            facts = write(file)
            about = {**about, "file": target.name, "bytes": _size_of(file), "sha256": digest_of(file)}
            manifest = {**about, **facts}
            # First, so that each file with a copy's name is complete.
            with _named_when_whole(manifest_file) as document:
                document.write(json.dumps(manifest, indent=2).encode() + b"\n")
    except BaseException:
        manifest_file.unlink(missing_ok=True)
        raise
    return manifest
