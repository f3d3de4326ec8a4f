"""Read the journal of a checkout (SPEC §2, --history). Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.entry import Failure, Module
from ansible.module_utils.onhost import journal, lock

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


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Read the journal. Raises Failure."""
    project = Path(params["path"])
    try:
        found = journal.runs(project, params["count"])
        holder = lock.look(project) or {}
    except OSError as error:
        if params["unfinished"]:  # Fails open: who may not read the journal still sees what serves
            return {"changed": False, "ansible_facts": {"host_report": {"unfinished": None}}}
        raise Failure(f"The journal in {project}/{lock.FOLDER} cannot be read: {error}.") from error
    for run in found:
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
