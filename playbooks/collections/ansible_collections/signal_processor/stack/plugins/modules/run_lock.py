"""Take, keep, give up or look at the lock of a checkout, and write the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Failure, Module
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import (
    causes,
    fence,
    leftovers,
    lock,
    runs,
)

DOCUMENTATION = """
module: run_lock
short_description: The lock of a checkout
description:
  - Leaves its answer in C(host_report.lock), that of C(held) in C(host_report.source_lock).
  - C(begun) and C(held) fail where another run holds the lock.
options:
  path: {type: path, required: true, description: The checkout.}
  state:
    type: str
    required: true
    choices: [begun, held, alive, ended, seen, released]
    description: What to do; C(held) is C(begun) without a line in the journal, C(seen) changes nothing.
  claim: {type: dict, default: {}, description: Whose lock it is; made by run.py.}
  dead: {type: list, elements: str, default: [], description: Runs that are known to be over.}
  plan: {type: list, elements: dict, description: The steps to note with a heartbeat.}
  line: {type: dict, default: {}, description: What the journal says of the end.}
  failed: {type: bool, default: false, description: What the run left running is ended.}
  run: {type: str, default: "", description: Whose lock is released; empty for one that cannot be read.}
"""


def done(params: dict[str, Any]) -> dict[str, Any]:
    """Do what `state` asks for."""
    project, state, claim = Path(params["path"]), params["state"], params["claim"]
    if state == "begun":
        return runs.begin(project, claim, params["dead"])
    if state == "held":
        return runs.hold(project, claim, params["dead"])
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


def held_by_another(path: str, holder: lock.Holder) -> str:
    """Say whose lock it is. Pure."""
    if not holder:
        return f"The lock of {path} cannot be read. If no other run is at work: python3 run.py --unlock"
    return (
        f"The lock of {path} belongs to {fence.named(holder)}, process {holder['pid']}. Nothing was changed. "
        "Wait for its end, then run this again."
    )


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
    key = {"released": "unlocked", "held": "source_lock"}.get(state, "lock")
    facts = {"host_report": {key: found}}
    if state in ("begun", "held") and not found["taken"]:
        raise Failure(held_by_another(params["path"], found["holder"]), facts)
    return {"changed": state in ("begun", "held", "ended", "released"), "ansible_facts": facts}


MODULE = Module(
    answer,
    {
        "path": {"type": "path", "required": True},
        "state": {
            "type": "str",
            "choices": ["begun", "held", "alive", "ended", "seen", "released"],
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
