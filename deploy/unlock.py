"""`--unlock`: show the locks, and release those that nobody needs any more.

The lock of a run at work is released only with `--yes`, and the summary says whose it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.actions import UNLOCK
from deploy.events import LOCK, Failure, RunState
from deploy.lock import described, refusal
from deploy.onhost import lock

if TYPE_CHECKING:
    from collections.abc import Callable


def play(state: RunState, playbook: Callable[[str, RunState, dict[str, Any]], int], *, force: bool) -> int:
    """Look at every lock, then release what may go; Ansible's status. `state` gets notes and failures."""
    status = playbook(str(UNLOCK.playbook), state, {})
    if status:
        return status
    release: dict[str, str] = {}
    over: list[str] = []
    for host in state.hosts.values():
        answer = host.report["lock"]
        if not answer["held"]:
            host.notes.append("nobody holds the lock")
        elif (why := releasable(answer["holder"])) or force:
            holder = answer["holder"]
            who = described(holder) if holder else "somebody unknown"
            release[host.name] = holder["run_id"] if holder else ""
            if why:
                over.append(host.name)
            host.notes.append(f"released the lock of {who}: {why or 'it is at work, and --yes was given'}")
        else:
            host.report["holder"] = answer["holder"]
            host.failure = Failure(LOCK, "Release the lock", refusal(answer["holder"], host.name))
    if not release:
        return status
    found = RunState(release)
    status = playbook(str(UNLOCK.playbook), found, {"lock_release": release, "lock_over": over})
    for name, after in found.hosts.items():
        state.hosts[name].failure = after.failure
        if ended := after.report.get("unlocked", {}).get("ended"):
            state.hosts[name].notes.append(f"what it had left was ended: {', '.join(ended)}")
    return status


def releasable(holder: lock.Holder | None) -> str:
    """Why a lock may go; empty if its holder is at work, as far as this host can see."""
    if not holder:
        return "it cannot be read"
    if lock.lives(holder) is False:
        return f"its process {holder['pid']} is gone"
    return "" if lock.lives(holder) else str(holder["dead"])
