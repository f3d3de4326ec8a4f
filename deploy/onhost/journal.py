"""The journal of a checkout: who ran what, and how it ended.

`.run/journal.jsonl` gets one line when a run begins, one when it knows its plan, and one when it ends, each
on the disk before it is reported. It is only ever appended to; when it has grown it becomes
`journal.1.jsonl`, and the one before that goes.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from . import lock

if TYPE_CHECKING:
    from pathlib import Path

NAME, OLDER = "journal.jsonl", "journal.1.jsonl"
LIMIT_BYTES = 1 << 20  # about 1,500 runs in each of the two files
NEWEST = 50  # runs that are looked at for the one after another
CONTAINER = "trading-signal-processor"


def live_version() -> str:
    """The version of the app's container that runs here; empty if none does, or that cannot be found out."""
    form = "{{.State.Running}}{{range .Config.Env}}\n{{.}}{{end}}"
    try:
        done = subprocess.run(
            ["docker", "container", "inspect", "--format", form, CONTAINER],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    running, *environment = done.stdout.splitlines() or [""]
    versions = [line.partition("=")[2] for line in environment if line.startswith("APP_VERSION=")]
    return versions[0] if running == "true" and versions else ""


def append(project: Path, line: dict[str, Any]) -> None:
    """Write one line, on the disk when this returns. Raises OSError."""
    folder = project / lock.FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / NAME
    if path.exists() and path.stat().st_size > LIMIT_BYTES:
        path.replace(folder / OLDER)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        torn = (
            size and os.pread(file.fileno(), 1, size - 1) != b"\n"
        )  # by a power cut: it stays a line of its own
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        file.write((b"\n" if torn else b"") + text.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines that can be read."""
    found = []
    try:
        texts = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and line.get("run_id"):
            found.append(line)
    return found


def knows(project: Path, run_id: str) -> bool:
    """Whether the beginning of this run is noted."""
    return any(line["run_id"] == run_id for line in _lines(project / lock.FOLDER / NAME))


def began_from(project: Path, run_id: str) -> str:
    """Return the version that ran when this run began; empty if none did, or nothing is noted."""
    lines = _lines(project / lock.FOLDER / NAME)
    return next((str(line["from"]) for line in lines if line["run_id"] == run_id and "from" in line), "")


def runs(project: Path, count: int) -> list[dict[str, Any]]:
    """The last `count` runs, newest first. One whose end was never written has `exit_code` None."""
    folder = project / lock.FOLDER
    found: dict[str, dict[str, Any]] = {}
    for line in [*_lines(folder / OLDER), *_lines(folder / NAME)]:
        run = found.setdefault(line["run_id"], {"exit_code": None, "ended": None, "to": ""})
        run.update({key: value for key, value in line.items() if key != "line"})
    return list(found.values())[: -count - 1 : -1]


def next_after(project: Path, run_id: str) -> dict[str, Any] | None:
    """Return the run that began here after this one, as a lock names its holder; None if none did.

    Only a run that took the lock over, or found it released, begins before the end of this one is noted.
    """
    later = None
    for run in runs(project, NEWEST):
        if run["run_id"] == run_id:
            return later
        later = {key: run.get(key, "") for key in ("run_id", "flow", "user", "machine")}
        later["since"] = run.get("started", "")
    return None
