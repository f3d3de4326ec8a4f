"""Take, keep, give up or look at the lock of a checkout, and write the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.entry import Failure, Module
from ansible.module_utils.onhost import causes, leftovers, lock, runs

DOCUMENTATION = """
module: run_lock
short_description: The lock of a checkout
description:
  - Leaves its answer in C(host_report.lock); C(state=begun) fails where another run holds the lock.
options:
  path: {type: path, required: true, description: The checkout.}
  state:
    type: str
    required: true
    choices: [begun, alive, ended, seen, released]
    description: What to do; C(seen) changes nothing.
  claim: {type: dict, default: {}, description: Whose lock it is; made by run.py.}
  dead: {type: list, elements: str, default: [], description: Runs that are known to be over.}
  plan: {type: list, elements: dict, description: The steps to note with a sign of life.}
  line: {type: dict, default: {}, description: What the journal says of the end.}
  failed: {type: bool, default: false, description: What the run left running is ended.}
  run: {type: str, default: "", description: Whose lock is released; empty for one that cannot be read.}
"""


def done(params: dict[str, Any]) -> dict[str, Any]:
    """Do what `state` asks for."""
    project, state, claim = Path(params["path"]), params["state"], params["claim"]
    if state == "begun":
        return runs.begin(project, claim, params["dead"])
    if state == "alive":
        held = runs.alive(project, claim["run_id"], params["plan"])
        return {"held": held, "holder": None if held else runs.taken_by(project, claim["run_id"])}
    if state == "ended":
        return {"held": runs.end(project, claim["run_id"], params["line"], failed=params["failed"])}
    if state == "released":
        released = lock.release(project, params["run"])
        return {"ended": runs.sweep(project, params["run"]) if released and params["failed"] else []}
    holder = lock.look(project)
    return {"held": holder is not None, "holder": holder or None}


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Do it, and report it. Raises Failure."""
    state = params["state"]
    try:
        found = done(params)
    except (OSError, leftovers.LeftoverError) as error:
        place = Path(params["path"]) / lock.FOLDER
        why = causes.explain(error, place) if isinstance(error, OSError) else str(error)
        raise Failure(
            f"The lock in {place} cannot be used: {why}. Put that right, then run this again."
        ) from error
    facts = {"host_report": {"unlocked" if state == "released" else "lock": found}}
    if state == "begun" and not found["taken"]:
        raise Failure("another run holds the lock", facts)
    return {"changed": state in ("begun", "ended", "released"), "ansible_facts": facts}


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "state": {
            "type": "str",
            "choices": ["begun", "alive", "ended", "seen", "released"],
            "required": True,
        },
        "claim": {"type": "dict", "default": {}},
        "dead": {"type": "list", "elements": "str", "default": []},
        "plan": {"type": "list", "elements": "dict"},
        "line": {"type": "dict", "default": {}},
        "failed": {"type": "bool", "default": False},
        "run": {"type": "str", "default": ""},
    },
)


if __name__ == "__main__":
    MODULE.run()
