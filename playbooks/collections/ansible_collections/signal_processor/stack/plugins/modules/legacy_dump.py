"""Dump the replaced system's database: by its running server, or by another one on a copy of its volume."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ansible_collections.signal_processor.stack.plugins.module_utils.database_copies import CopyError, make
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module
from ansible_collections.signal_processor.stack.plugins.module_utils.legacy_dumps import (
    DATABASE,
    DUMPS,
    SourceError,
    check_dump,
    docker,
    reader,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.legacy_sources import require_old

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCUMENTATION = """
module: legacy_dump
short_description: A verified dump of the replaced system's database, in backups/legacy
description:
  - Returns C(dump) with C(error) (empty when it is good), C(path) and C(bytes). Its manifest is written, too.
  - The volume of a stopped stack is only read. What failed leaves nothing behind.
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  source: {type: dict, required: true, description: What M(legacy_source) found.}
  image: {type: str, required: true, description: The database's image.}
  run_id: {type: str, required: true, description: The run that makes it.}
"""


def dump_with(inside: Sequence[str], options: Sequence[str], file: BinaryIO) -> None:
    """Dump with the tools of a server and read all of it back. Raises SourceError."""
    require_old([*inside, "psql", *options])
    docker(*inside, "pg_dump", *options, "--format=custom", "--lock-wait-timeout=30s", stdout=file)
    check_dump(file, [*inside, "pg_restore"])


def dump(source: dict[str, Any], image: str, file: BinaryIO) -> None:
    """Dump from the server that runs, or from one on a copy of the volume. Raises SourceError."""
    if source["is_running"]:
        inside = ["exec", "--interactive", source["container"]]
        dump_with(inside, ["-U", "postgres", "-d", DATABASE], file)
        return
    with reader(source["image"] or image, volume=source["volume"]) as server:
        dump_with(["exec", "--interactive", "--user=postgres", server.name], server.options(), file)


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Make the dump; that it could not be made is an answer, too."""
    source, at = params["source"], time.gmtime()
    folder = Path(params["checkout"], DUMPS)
    target = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', at)}-{params['run_id']}.dump"
    about = {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", at),
        "names": source["names"],
        "folder": source["folder"],
        "volume": source["volume"],
        "run_id": params["run_id"],
    }

    def write(file: BinaryIO) -> dict[str, Any]:
        dump(source, params["image"], file)
        return {}

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob("*.partial"):  # by a run that was killed
            left.unlink()
        manifest = make(target, write, about)
    except (SourceError, CopyError, OSError) as error:
        return {"changed": False, "dump": {"error": str(error)}}
    return {"changed": True, "dump": {"error": "", "path": str(target), "bytes": manifest["bytes"]}}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "source": {"type": "dict", "required": True},
        "image": {"type": "str", "required": True},
        "run_id": {"type": "str", "required": True},
    },
    fenced=lambda params: str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
