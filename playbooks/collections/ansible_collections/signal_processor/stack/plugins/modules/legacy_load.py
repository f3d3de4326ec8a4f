"""Read a dump of the replaced system into a second database of a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils import legacy_dumps
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module

DOCUMENTATION = """
module: legacy_load
short_description: Load a dump of the replaced system into a second database
description:
  - A database of this name is replaced. Fails unless all of the dump was read.
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  path: {type: path, required: true, description: "The dump, in the format C(custom) or in plain SQL."}
  container: {type: str, required: true, description: The database's container.}
  database: {type: str, required: true, description: Name of the second database.}
"""


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Load it. Raises Failure."""
    inside = ["exec", "--interactive", params["container"]]
    names = ["--username=postgres", params["database"]]
    try:
        with Path(params["path"]).open("rb") as file:
            kind = legacy_dumps.check_dump(file, [*inside, "pg_restore"])
            legacy_dumps.docker(*inside, "dropdb", "--if-exists", "--force", *names)
            legacy_dumps.docker(*inside, "createdb", "--template=template0", *names)
            legacy_dumps.restore(inside, ["-U", "postgres", "-d", params["database"]], file, kind)
    except (legacy_dumps.SourceError, OSError) as error:
        raise Failure(f"{params['path']} could not be read in: {error}") from error
    return {"changed": True}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "path": {"type": "path", "required": True},
        "container": {"type": "str", "required": True},
        "database": {"type": "str", "required": True},
    },
    fenced=lambda params: str(params["checkout"]),
)


if __name__ == "__main__":
    MODULE.run()
