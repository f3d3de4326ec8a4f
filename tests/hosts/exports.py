"""Runs on a host whose operator has exported variables, compared with the same runs without them."""

from __future__ import annotations

import io
import json
import re
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.controller import exported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.hosts.host import Host
    from tests.hosts.stack import Stack

FLOWS = ("--status-only", "--quick --check", "--quick")
HANGS_SECONDS = 120.0
THEIRS = Path("/root/theirs")  # on the host: packages that no program can work with
PREFIX = "/usr"  # of the host's Python
_IGNORED = re.compile(r"exported here, and without effect: ([A-Z_0-9, ]+) \(.*")
_SECONDS = re.compile(r"\d+\.\d s\b")


def lay_out(host: Host) -> dict[str, dict[str, str]]:
    """Prepare the host for forty variables, and return them by kind."""
    with tempfile.TemporaryDirectory() as folder:
        exported.make_packages(Path(folder, THEIRS.name))
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(Path(folder, THEIRS.name), arcname=THEIRS.name)
    host.unpack(archive.getvalue(), str(THEIRS.parent))
    return exported.by_kind(THEIRS, PREFIX)


@dataclass(frozen=True)
class Outcome:
    """The result of a run, without members that differ from run to run."""

    code: int
    document: dict[str, Any]
    said: str


def outcome(stack: Stack, flow: str, variables: Mapping[str, str]) -> tuple[Outcome, set[str]]:
    """Run a flow with these variables; return its outcome, and those that it reports as without effect."""
    result = stack.run_py(flow, "--json", timeout=HANGS_SECONDS, exported=variables)
    assert result.code != 124, f"it hangs:\n{result.output}"
    document = json.loads(result.stdout or "{}")
    named = {name for note in _notes(document) for name in note.split(", ")}
    said = "\n".join(line for line in result.stderr.splitlines() if not _IGNORED.search(line))
    return Outcome(result.code, _settled(document), _SECONDS.sub("N s", said)), named


def _notes(document: dict[str, Any]) -> list[str]:
    notes = document.get("hosts", {}).get("localhost", {}).get("notes") or []
    return [found[1] for note in notes if (found := _IGNORED.fullmatch(note))]


def _settled(found: Any) -> Any:
    """Return a document without times, ids, and the note about exported variables."""
    if isinstance(found, dict):
        kept = {name: _settled(value) for name, value in found.items() if name not in {"run_id", "seconds"}}
        if "notes" in kept:
            kept["notes"] = [note for note in kept["notes"] or [] if not _IGNORED.fullmatch(note)]
        return kept
    if isinstance(found, list):
        return [_settled(one) for one in found]
    return _SECONDS.sub("N s", found) if isinstance(found, str) else found
