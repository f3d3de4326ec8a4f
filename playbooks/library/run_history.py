"""Read the journal of a checkout (SPEC §2, --history). Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.entry import Failure, Module
from ansible.module_utils.onhost import journal, lock

DOCUMENTATION = """
module: run_history
short_description: The last runs on a checkout, newest first
description: [Leaves them in C(host_report.history); C(running) marks the one that holds the lock.]
options:
  path: {type: path, required: true, description: The checkout.}
  count: {type: int, default: 50, description: How many.}
"""


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Read the journal. Raises Failure."""
    project = Path(params["path"])
    try:
        found = journal.runs(project, params["count"])
        holder = lock.look(project) or {}
    except OSError as error:
        raise Failure(f"The journal in {project}/{lock.FOLDER} cannot be read: {error}.") from error
    for run in found:
        run["running"] = run["run_id"] == holder.get("run_id") and not holder["dead"]
    return {"changed": False, "ansible_facts": {"host_report": {"history": found}}}


MODULE = Module(
    answer,
    {"path": {"type": "path", "required": True}, "count": {"type": "int", "default": 50}},
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
