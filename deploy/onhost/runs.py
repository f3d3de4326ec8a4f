"""A run begins and ends on a host: lock and journal together, and what a dead run left behind."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from . import edge, fence, journal, leftovers, lock, ownership

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

LABEL = "trading-signal-processor.run"  # of a container that a flow starts for itself; its run's id


def controller(project: Path, run_id: str) -> Path:
    """Return where a run that moves the checkout keeps the copy of the controller that it plays from."""
    return project / lock.FOLDER / f"controller-{run_id}"


def images(project: Path, run_id: str) -> Path:
    """Return where images lie that a run ships to another host (roles/images)."""
    return project / lock.FOLDER / f"images-{run_id}.tar.gz"


def successor(container: str, run_id: str) -> str:
    """Return the name under which a run starts the container that takes the place of another one."""
    return f"{container}.next-{run_id}"


def hold(project: Path, mine: lock.Holder, dead: Collection[str] = ()) -> dict[str, Any]:
    """Take the lock and note nothing: what `lock.take` found, and `ended`, what a dead run had left.

    Raises OSError and LeftoverError; the lock is not held then.
    """
    found = lock.take(project, mine, dead)
    if not found["taken"] or found["kept"]:
        return found
    try:
        if found["replaced"] is not None:
            found["ended"] = sweep(project, found["replaced"].get("run_id", ""))
        fence.settle(project)
    except BaseException:
        lock.release(project, mine["run_id"])
        raise
    return found


def begin(project: Path, mine: lock.Holder, dead: Collection[str] = ()) -> dict[str, Any]:
    """The same for a run that changes what this checkout deploys: the journal says that it began.

    `from` is the version that ran then.
    """
    found = hold(project, mine, dead)
    if not found["taken"]:
        return found
    if found["kept"]:
        return {**found, "from": journal.began_from(project, mine["run_id"])}
    try:
        line = {key: mine[key] for key in ("run_id", "flow", "user", "machine")}
        before = journal.live_version()
        journal.append(project, {"line": "start", **line, "started": lock.utc_now(), "from": before})
    except BaseException:
        lock.release(project, mine["run_id"])
        raise
    return {**found, "from": before}


def alive(project: Path, run_id: str, plan: list[dict[str, str]] | None = None) -> bool:
    """Note a heartbeat, and the plan if there is one; False if the lock is no longer this run's.

    Raises OSError.
    """
    held = lock.beat(project, run_id)
    if held and plan is not None:
        journal.append(project, {"line": "plan", "run_id": run_id, "plan": plan})
    return held


def taken_by(project: Path, run_id: str) -> lock.Holder | None:
    """Return the run that has the lock instead of this one, or had it and has ended.

    None if no other run has or had it, or if that cannot be read.
    """
    with contextlib.suppress(OSError):
        return lock.look(project) or journal.next_after(project, run_id)
    return None


def end(project: Path, run_id: str, line: dict[str, Any], *, failed: bool) -> bool:
    """Give up the lock, and note the end where the beginning is noted.

    Returns whether all was in order: not taken by others, or never begun here.

    After a failure what the run had left is ended, too. Raises OSError and LeftoverError; the lock is given
    up all the same.
    """
    held = lock.holds(project, run_id)
    try:
        noted = journal.knows(project, run_id)
        if not held and not noted:
            return True
        if failed and held:
            sweep(project, run_id)
        if noted:
            ending = {"line": "end", "run_id": run_id, **line}
            journal.append(project, {**ending, "ended": lock.utc_now(), "to": journal.live_version()})
    finally:
        lock.release(project, run_id)
        # Fails open: a file system that gives nothing away takes nothing from what the run has done.
        with contextlib.suppress(OSError):
            ownership.hand_over_all(project)
    return held


def sweep(project: Path, run_id: str) -> list[str]:
    """End the processes of a run and remove the containers that it started for itself; what they were.

    Both carry the run's id. What an operator or another checkout's run started has another one, or none.
    """
    if not run_id:
        return []
    shutil.rmtree(controller(project, run_id), ignore_errors=True)
    with contextlib.suppress(OSError):
        images(project, run_id).unlink(missing_ok=True)
    ended = [f"{one.command[:80]} ({one.pid})" for one in leftovers.end(run_id)]
    listing = ["docker", "ps", "--all", "--format", "{{.Names}}", "--filter", f"label={LABEL}={run_id}"]
    ended += _finish_swaps(run_id)
    for name in _docker(listing):
        if name == edge.STANDIN:  # it stays where it is the only one that serves
            continue
        _docker(["docker", "stop", name])  # in order: what it sent must be written down
        _docker(["docker", "rm", "--force", name])
        ended.append(f"container {name}")
    return ended


def _finish_swaps(run_id: str) -> list[str]:
    """Put in order what a run was replacing when it was cut off; what was done."""
    ended: list[str] = []
    # Fails open: what cannot be put in order serves as it is, and the next flow goes on from there.
    with contextlib.suppress(edge.EdgeError):
        ended += _finish_swap(successor(edge.EDGE, run_id), edge.EDGE)
        new = successor(journal.CONTAINER, run_id)
        leaves_edge = _running(edge.EDGE) is not None and _publishes_port(new)
        ended += _finish_leaving(new) if leaves_edge else _finish_swap(new, journal.CONTAINER)
        edge.remove_remains()
        ended += [f"the swap of {journal.CONTAINER}: {step}" for step in edge.settle(LABEL, run_id)]
    return ended


def _finish_leaving(new: str) -> list[str]:
    """Leave either the edge or an app that publishes the port itself, whichever runs; what was done.

    Raises EdgeError.
    """
    is_running = _running(new)
    if is_running is None:
        return []
    if is_running and not _running(edge.EDGE):
        _docker(["docker", "rm", "--force", edge.EDGE, journal.CONTAINER])
        _docker(["docker", "rename", new, journal.CONTAINER])
        return [f"the swap of {journal.CONTAINER}, which was finished"]
    _docker(["docker", "rm", "--force", new])
    for container in (edge.EDGE, journal.CONTAINER):
        _docker(["docker", "start", container])
        _docker(["docker", "update", "--restart=unless-stopped", container])
    return [f"container {new}"]


def _finish_swap(new: str, container: str) -> list[str]:
    """Leave one container of the app where a run was cut off between two; what was done.

    The new one stays if it runs and the old one does not; else the old one serves on. An edge that does not
    serve does not stay. Raises EdgeError.
    """
    running = {name: _running(name) for name in (new, container)}
    if running[new] is None:
        return []
    is_good = running[new] and (container != edge.EDGE or not edge.why_not_serving(new))
    if running[container] or (running[container] is not None and not is_good):
        _docker(["docker", "rm", "--force", new])
        _docker(["docker", "start", container])
        _docker(["docker", "update", "--restart=unless-stopped", container])
        return [f"container {new}"]
    _docker(["docker", "rm", "--force", container])
    _docker(["docker", "rename", new, container])
    _docker(["docker", "start", container])
    return [f"the swap of {container}, which was finished"]


def _publishes_port(container: str) -> bool:
    """Whether a container has the port where clients ask, as an app of a version without an edge."""
    return edge.PUBLIC in ((edge.inspect(container).get("HostConfig") or {}).get("PortBindings") or {})


def _running(container: str) -> bool | None:
    """Whether a container runs; None if there is none. Raises EdgeError if the engine does not say."""
    found = edge.inspect(container)
    return bool(found["State"]["Running"]) if found else None


def _docker(argv: list[str]) -> list[str]:
    """The words that a docker command prints; none if there is no docker, or nobody answers."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []
