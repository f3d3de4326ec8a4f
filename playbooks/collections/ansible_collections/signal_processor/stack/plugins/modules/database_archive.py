"""Look at a dump before anything is replaced by it: whole, ours, and not from a newer version."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.signal_processor.stack.plugins.module_utils.database_copies import (
    digest_of,
    manifest_path,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module

DOCUMENTATION = """
module: database_archive
short_description: Whether a dump can be restored here; changes nothing
description:
  - Returns C(archive) with C(error), empty where it can, and in C(migrations) those it has.
  - The running server's own tools read all of it.
options:
  path: {type: path, required: true, description: The dump.}
  container: {type: str, required: true, description: The database's container, running.}
"""

DATABASE = "trading_signals"
MIGRATIONS = "_pogo_migration"
OURS = ("signals", "signal_events", "attempts", "positions", MIGRATIONS)
COPIED = re.compile(rf"^COPY public\.{MIGRATIONS} \((.*)\) FROM stdin;$(.*?)^\\\.$", re.MULTILINE | re.DOTALL)


class ArchiveError(Exception):
    """It cannot be restored here; the reason as half a sentence."""


def inside(container: str, *argv: str, stdin: BinaryIO | None = None) -> str:
    """Run the server's own tool, over a file if one is given; its stdout."""
    if stdin is not None:
        stdin.seek(0)
    done = subprocess.run(
        ["docker", "exec", "--interactive", container, *argv],
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ArchiveError(lines[-1] if lines else f"{argv[0]} ended with exit code {done.returncode}")
    return done.stdout.decode(errors="replace")


def promised_digest(path: Path) -> str:
    """Return the sha256 that the manifest of the dump promises; empty without a manifest."""
    manifest = manifest_path(path)
    if not manifest.exists():
        return ""
    try:
        return str(json.loads(manifest.read_bytes())["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"its manifest {manifest.name} cannot be read") from error


def migrations_in(script: str) -> set[str]:
    """Return the migration ids of the table's data, as pg_restore writes it in SQL."""
    found = COPIED.search(script)
    if found is None:
        raise ArchiveError("it does not say which migrations it has")
    column = found[1].split(", ").index("migration_id")
    return {line.split("\t")[column] for line in found[2].strip().splitlines()}


def check(path: Path, container: str) -> list[str]:
    """Return the migrations it has. Raises ArchiveError unless all of it is a dump of ours that fits."""
    if not path.is_file():
        raise ArchiveError("there is no such file")
    if path.stat().st_size == 0:
        raise ArchiveError("it is empty")
    promised = promised_digest(path)
    with path.open("rb") as file:
        if promised and digest_of(file) != promised:
            raise ArchiveError("its sha256 is not the one in its manifest: it was changed or damaged")
        contents = inside(container, "pg_restore", "--list", stdin=file)
        missing = [table for table in OURS if f" TABLE DATA public {table} " not in contents]
        if missing:
            raise ArchiveError(f"it is not a dump of this application: it has no {', '.join(missing)}")
        inside(container, "pg_restore", "--file=/dev/null", stdin=file)
        table = ("pg_restore", "--data-only", f"--table={MIGRATIONS}", "--file=-")
        had = migrations_in(inside(container, *table, stdin=file))
    query = f"SELECT migration_id FROM {MIGRATIONS}"  # noqa: S608 - a constant
    known = inside(container, "psql", "-U", "postgres", "-d", DATABASE, "-X", "-qAtc", query).split()
    if newer := sorted(had.difference(known)):
        raise ArchiveError(f"it comes from a newer version: {', '.join(newer)} is not known here")
    return sorted(had)


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Check the archive; what is wrong with it is an answer, too."""
    try:
        migrations = check(Path(params["path"]), params["container"])
    except (ArchiveError, OSError) as error:
        return {"changed": False, "archive": {"error": str(error)}}
    return {"changed": False, "archive": {"error": "", "migrations": migrations}}


MODULE = Module(
    answer,
    {"path": {"type": "path", "required": True}, "container": {"type": "str", "required": True}},
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
