"""Read the journal of a checkout. Changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.git_checkout import GitError, subjects
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import causes, journal, lock

LISTED = 20  # commits of one run
DOCUMENTATION = """
module: run_history
short_description: The last runs on a checkout, newest first
description:
  - Leaves them in C(host_report.history); C(running) marks the one that holds the lock.
  - With C(unfinished) it leaves the last one in C(host_report.unfinished) instead, if its end is not noted.
options:
  path: {type: path, required: true, description: The checkout.}
  count: {type: int, default: 50, description: How many.}
  unfinished: {type: bool, default: false, description: Only the last one, if it is at work or was cut off.}
"""


def commit_of(version: str) -> str:
    """Return the commit that a version was built from, edits aside; empty if it names none. Pure."""
    match = re.match(r"[0-9a-f]{12}(?=-|$)", version)
    return match.group() if match else ""


def commits(root: Path, before: str, after: str) -> list[str]:
    """Return what a run brought, newest first: `+ HASH SUBJECT`, or `- HASH SUBJECT` for what it took back.

    Empty where nothing of that is known here: a version without a commit, or a folder that is not a clone.
    """
    ends = commit_of(before), commit_of(after)
    if not all(ends) or ends[0] == ends[1]:
        return []
    found = []
    for sign, older, newer in (("+", *ends), ("-", *reversed(ends))):
        try:
            listed = subjects(root, f"--max-count={LISTED + 1}", f"{older}..{newer}", "--")
        except GitError:
            return []
        lines = [f"{sign} {line}" for line in listed]
        found += [*lines[:LISTED], f"{sign} and more"] if len(lines) > LISTED else lines
    return found


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Read the journal. Raises Failure."""
    project = Path(params["path"])
    try:
        found = journal.runs(project, params["count"])
        holder = lock.look(project) or {}
    except OSError as error:
        if params["unfinished"]:  # Fails open: who may not read the journal still sees what serves
            return {"changed": False, "ansible_facts": {"host_report": {"unfinished": None}}}
        why = causes.explain(error, project / lock.FOLDER)
        raise Failure(f"The journal cannot be read: {why}.", {"host_report": {"unchanged": True}}) from error
    for run in found:
        if not params["unfinished"]:
            run["commits"] = commits(project, run.get("from") or "", run.get("to") or "")
        run["running"] = run["run_id"] == holder.get("run_id") and not holder["dead"]
    report = {"unfinished": _unfinished(found)} if params["unfinished"] else {"history": found}
    return {"changed": False, "ansible_facts": {"host_report": report}}


def _unfinished(runs: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the last run if its end is not noted: it is at work, or a power cut or a kill ended it."""
    return runs[0] if runs and runs[0]["exit_code"] is None else None


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "count": {"type": "int", "default": 50},
        "unfinished": {"type": "bool", "default": False},
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
