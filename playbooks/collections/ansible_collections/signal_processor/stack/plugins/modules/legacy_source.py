"""Find out what SOURCE of `--import-legacy` is, and whether it can be read. Changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils import legacy_dumps, legacy_sources
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import leftovers, runs
from ansible_collections.signal_processor.stack.plugins.module_utils.settings import volume_name

DOCUMENTATION = """
module: legacy_source
short_description: The stack, the folder or the dump that the replaced system is read from
description:
  - Returns C(source) with C(error), empty where it can be read.
  - C(leaving) are containers and volumes that this system's names may coincide with.
  - C(new_volume) is the volume to use here, where the replaced system's has the name of ours.
options:
  source: {type: str, required: true, description: As typed.}
  folder: {type: path, required: true, description: Where a relative path begins.}
  checkout: {type: path, required: true, description: This checkout.}
  volume: {type: str, required: true, description: "The volume here, unless .env names another one."}
  other_volume: {type: str, required: true, description: The one to use instead of a volume of the same name.}
  image: {type: str, required: true, description: The database's image; its tools read a dump.}
"""


def with_format(source: dict[str, Any], image: str) -> dict[str, Any]:
    """Return a dump with its format. Where the image is still to come, its contents are checked later.

    Raises SourceError.
    """
    with Path(source["path"]).open("rb") as file:
        if not legacy_dumps.is_here(image):
            return {**source, "format": legacy_dumps.format_of(file), "checked": False}
        label = f"--label={runs.LABEL}={os.environ.get(leftovers.MARK, '')}"
        run = ["run", "--rm", "--interactive", "--pull=never", label, "--network=none"]
        tool = [*run, "--entrypoint=pg_restore", image]
        return {**source, "format": legacy_dumps.check_dump(file, tool), "checked": True}


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Look at it; that it cannot be read is an answer, too."""
    checkout = Path(params["checkout"])
    try:
        source = legacy_sources.find(params["source"], params["folder"], checkout)
        if source["kind"] == "stack":
            source = legacy_sources.with_stopped(source, checkout)
        if source["kind"] == "dump":
            source = with_format(source, params["image"])
        elif source["is_running"]:
            psql = ["exec", source["container"], "psql", "-U", "postgres", "-d", legacy_dumps.DATABASE]
            legacy_sources.require_old(psql)
        else:
            legacy_sources.require_old_volume(source["volume"], source["image"] or params["image"])
    except (legacy_dumps.SourceError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return {"changed": False, "source": {"error": why}}
    ours = volume_name(checkout, params["volume"])
    shares_volume = source.get("volume") == ours
    return {
        "changed": False,
        "source": {
            "error": "",
            **source,
            "leaving": [*source.get("remove", []), *([ours] if shares_volume else [])],
            "new_volume": params["other_volume"] if shares_volume else "",
        },
    }


MODULE = Module(
    answer,
    {
        "source": {"type": "str", "required": True},
        "folder": {"type": "path", "required": True},
        "checkout": {"type": "path", "required": True},
        "volume": {"type": "str", "required": True},
        "other_volume": {"type": "str", "required": True},
        "image": {"type": "str", "required": True},
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
