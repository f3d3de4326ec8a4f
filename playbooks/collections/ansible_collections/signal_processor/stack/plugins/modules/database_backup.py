"""Copy the database: made beside, verified, only then given its name."""

from __future__ import annotations

import json
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.signal_processor.stack.plugins.module_utils.database_copies import CopyError, make
from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import runs
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import last_line

DOCUMENTATION = """
module: database_backup
short_description: A verified dump by the running server's own tools, or a cold copy of its volume
description:
  - Returns C(backup) with C(error) (empty when it is good), C(file), C(bytes) and C(sha256).
  - A manifest is next to the file. What failed leaves nothing behind.
  - A good dump is recorded in the database, if its schema has a table for that. C(unrecorded) says why not.
options:
  checkout: {type: path, required: true, description: The checkout whose lock the run must hold.}
  source: {type: str, choices: [server, volume], default: server, description: What is copied.}
  container: {type: str, required: true, description: The database's container; stopped for C(source=volume).}
  volume: {type: str, required: true, description: The database's volume.}
  image: {type: str, required: true, description: An image with C(tar), for the cold copy.}
  folder: {type: path, required: true, description: Where backups lie; made 0700.}
  flow: {type: str, required: true, description: The flow's name, part of the file's.}
  run_id: {type: str, required: true, description: The run that made it.}
  version: {type: str, required: true, description: The application's version at that moment.}
  destruction: {type: bool, default: false, description: The database is destroyed next; kept permanently.}
  keep: {type: int, default: 5, description: How many others are kept.}
"""

DATABASE = "trading_signals"
LOCK_WAIT_SECONDS = 30
ABANDONED_SECONDS = 600  # a file that is being written changes all the time
FACTS = """
SELECT json_build_object(
    'postgres', current_setting('server_version'),
    'migrations', ARRAY(SELECT migration_id FROM _pogo_migration ORDER BY migration_id),
    'signals', (SELECT count(*) FROM signals))
"""


# An older schema has no such table. A lock on it must not hold up the flow.
RECORD = """
SET lock_timeout = '5s';
DO $$ BEGIN
    IF to_regclass('public.database_backups') IS NOT NULL THEN
        INSERT INTO public.database_backups DEFAULT VALUES;
    END IF;
END $$;
"""


def run(
    argv: list[str], what: str, *, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None
) -> bytes:
    """Run a command between files; raise CopyError with its last line unless it ends with 0."""
    if stdin is not None:
        stdin.seek(0)
    done = subprocess.run(
        argv,
        stdin=stdin or subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        raise CopyError(f"{what}: {last_line(done.stderr, done.returncode)}")
    return done.stdout or b""


def inside_of(container: str) -> list[str]:
    """Return how a command in the container begins."""
    return ["docker", "exec", "--interactive", container]


def query(container: str, statements: str, what: str) -> bytes:
    """Run statements in the database; return the rows."""
    options = ["-U", "postgres", "-d", DATABASE, "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statements]
    return run([*inside_of(container), "psql", *options], what)


def dump(container: str, file: BinaryIO) -> dict[str, Any]:
    """Dump by the server's own tools and read the whole archive back; return facts for the manifest."""
    inside = inside_of(container)
    facts = query(container, FACTS, "the database cannot be read")
    pg_dump = [
        *inside, "pg_dump", "-U", "postgres", "-d", DATABASE, "--format=custom",
        f"--lock-wait-timeout={LOCK_WAIT_SECONDS}s",
    ]  # fmt: skip
    run(pg_dump, "pg_dump", stdout=file)
    contents = run([*inside, "pg_restore", "--list"], "pg_restore --list", stdin=file)
    if b" TABLE DATA public signals " not in contents:
        raise CopyError("pg_restore --list names no table of signals in it")
    # The list stands at the head of the file: only reading all of it shows that all of it is there.
    run([*inside, "pg_restore", "--file=/dev/null"], "pg_restore", stdin=file)
    return dict(json.loads(facts))


def copy_volume(volume: str, image: str, run_id: str, file: BinaryIO) -> dict[str, Any]:
    """Archive a volume that nobody writes to, and read all of it back; return facts for the manifest."""
    argv = [
        "docker",
        "run",
        "--rm",
        f"--label={runs.LABEL}={run_id}",
        "--network=none",
        "--user=0",
        f"--volume={volume}:/volume:ro",
        "--entrypoint=tar",
    ]
    run([*argv, image, "-C", "/volume", "-cf", "-", "."], "tar", stdout=file)
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            entries = sum(1 for _ in archive)
    except tarfile.TarError as error:
        raise CopyError(f"the archive cannot be read back: {error}") from error
    if entries < 2:  # the folder itself is one
        raise CopyError("the volume is empty")
    return {"entries": entries}


def tidy(folder: Path, keep: int, made: str) -> list[str]:
    """Remove all but the newest `keep` of those that may go, and what killed runs left; return the names.

    The copy just made is the newest whatever its name says: the clock may have gone back.
    """
    now = time.time()
    going = [path for path in folder.glob("*.partial") if now - path.stat().st_mtime > ABANDONED_SECONDS]
    ordinary = []
    # Names begin with the time.
    notes = sorted(folder.glob("*.json"), key=lambda note: (note.stem == made, note.name), reverse=True)
    for note in notes:
        try:
            manifest = json.loads(note.read_bytes())
        except ValueError:
            continue  # not ours to judge, so not ours to remove
        if isinstance(manifest, dict) and manifest.get("before_destruction") is False:
            ordinary.append(note)
    for note in ordinary[keep:]:
        going += [note.with_suffix(""), note]
    for path in going:
        path.unlink(missing_ok=True)
    return [path.name for path in going]


def record(container: str) -> str:
    """Record in the database that it was backed up now; return why that failed, empty if it did not.

    Fails open: the dump is good. The application's alarm about old backups does not know of it.
    """
    try:
        query(container, RECORD, "psql")
    except (CopyError, OSError) as error:
        return str(error)
    return ""


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Make a backup and tidy up; that it could not be made is an answer, too."""
    folder, at = Path(params["folder"]), time.gmtime()
    about = {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", at),
        "flow": params["flow"],
        "run_id": params["run_id"],
        "version": params["version"],
        "before_destruction": params["destruction"],
    }
    ending = "dump" if params["source"] == "server" else "volume.tar"
    target = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', at)}-{params['flow']}.{ending}"

    def write(file: BinaryIO) -> dict[str, Any]:
        if params["source"] == "server":
            return dump(params["container"], file)
        return copy_volume(params["volume"], params["image"], params["run_id"], file)

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        manifest = make(target, write, about)
        removed = tidy(folder, params["keep"], target.name)
    except (CopyError, OSError) as error:
        return {"changed": False, "backup": {"error": str(error)}}
    backup = {"error": "", "file": str(target), "bytes": manifest["bytes"], "sha256": manifest["sha256"]}
    if params["source"] == "server" and not params["destruction"]:
        backup["unrecorded"] = record(params["container"])
    return {"changed": True, "backup": backup, "removed": removed}


MODULE = Module(
    answer,
    {
        "checkout": {"type": "path", "required": True},
        "source": {"type": "str", "choices": ["server", "volume"], "default": "server"},
        "container": {"type": "str", "required": True},
        "volume": {"type": "str", "required": True},
        "image": {"type": "str", "required": True},
        "folder": {"type": "path", "required": True},
        "flow": {"type": "str", "required": True},
        "run_id": {"type": "str", "required": True},
        "version": {"type": "str", "required": True},
        "destruction": {"type": "bool", "default": False},
        "keep": {"type": "int", "default": 5},
    },
    fenced=lambda params: str(params["checkout"]),  # it removes old copies
)


if __name__ == "__main__":
    MODULE.run()
