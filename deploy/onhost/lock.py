"""The lock of a checkout: one run at a time changes it, and every other run is refused with its name.

`.run/lock` is a JSON object that is there whole or not at all. A process that changes it holds the folder
(`flock`, which the kernel takes back from the dead): two that find a dead holder cannot both take over.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import causes, leftovers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

FOLDER = ".run"  # 0700 in the checkout; no flow cleans it
NAME = "lock"
SILENT_SECONDS = 120.0  # without a heartbeat, the holder on another machine counts as dead
BEAT_SECONDS = 30.0  # between two heartbeats
STEP_SECONDS = 1800.0  # the same for a run without run.py, which sends a heartbeat with each step only

Holder = dict[str, Any]  # what `claim` makes, and `seen`, the last heartbeat


def _read(path: str) -> str:
    try:
        return Path(path).read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _namespace() -> str:
    """The set of processes that this one can see; another in every container."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def machine() -> dict[str, str]:
    """Where this process runs: what distinguishes machines, their boots and their containers."""
    return {
        "machine": socket.gethostname(),
        "machine_id": _read("/etc/machine-id"),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "processes": _namespace(),
    }


def utc_now() -> str:
    """Return the time as locks, journals and records of versions have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def claim(run_id: str, flow: str) -> Holder:
    """What this process writes into a lock."""
    pid = os.getpid()
    return {
        "run_id": run_id,
        "flow": flow,
        "user": os.environ.get("SUDO_USER") or causes.user(),
        **machine(),
        "pid": pid,
        "started": leftovers.started(pid),
        "since": utc_now(),
    }


def claim_by_hand(run_id: str, flow: str) -> Holder:
    """The same for a playbook that was started without run.py, whose lease covers its longest step."""
    return {**claim(run_id, flow), "lease_seconds": STEP_SECONDS}


def _now() -> dict[str, Any]:
    """The host's clock that nobody can set, and since when it runs."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return {"boot": machine()["boot"], "at": time.clock_gettime(clock)}


def silence(holder: Holder) -> float | None:
    """Seconds since the holder's last heartbeat on this host; None if the host was started since."""
    now, seen = _now(), holder.get("seen") or {}
    return now["at"] - seen["at"] if seen.get("boot") == now["boot"] else None


def lives(holder: Holder) -> bool | None:
    """Whether the holder is still at work; None if it works elsewhere, which cannot be seen from here."""
    here = machine()
    if (holder["machine"], holder["machine_id"]) != (here["machine"], here["machine_id"]):
        return None
    if (holder["boot"], holder["processes"]) == (here["boot"], here["processes"]):
        return leftovers.lives(int(holder["pid"]), holder["started"])
    restarted = holder["machine_id"] and holder["boot"] != here["boot"]
    return False if restarted else None  # else another container, whose processes cannot be seen


def death(holder: Holder) -> str:
    """Why a holder is known to be dead; empty if it is not."""
    living = lives(holder)
    if living is not None:
        return "" if living else f"its process {holder['pid']} is gone"
    silent = silence(holder)
    if silent is None:
        return "no heartbeat since this host was started"
    lease = float(holder.get("lease_seconds", SILENT_SECONDS))
    return f"no heartbeat for {silent:.0f} s" if silent > lease else ""


@contextlib.contextmanager
def _alone(project: Path) -> Iterator[Path]:
    """The folder, for one process at a time; made if it is missing."""
    folder = project / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)


def _write(folder: Path, holder: Holder) -> None:
    """Put a whole lock into its place, on the disk. Where none may be replaced the caller has looked."""
    fresh = folder / f"{NAME}.{holder['run_id']}"
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({**holder, "seen": _now()}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(folder / NAME)
    finally:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()


def holder_in(folder: Path) -> Holder | None:
    """Who holds the lock in this folder; None if nobody does. What cannot be read is somebody unknown."""
    try:
        text = (folder / NAME).read_text("utf-8")
    except FileNotFoundError:
        return None
    try:
        found = dict(json.loads(text))
    except (ValueError, TypeError):
        return {}
    return found if found.keys() >= {*claim("", ""), "seen"} else {}


def take(project: Path, mine: Holder, dead: Collection[str] = ()) -> dict[str, Any]:
    """Take the lock for `mine`, from nobody or from the dead: `taken`, `holder`, `replaced`, `why`.

    `dead` are runs of which the caller knows that they are over. A lock that is this run's already is `kept`.
    """
    with _alone(project) as folder:
        holder = holder_in(folder)
        if holder is not None and holder.get("run_id") == mine["run_id"]:
            return {"taken": True, "kept": True}
        why = ""
        if holder is not None:
            if holder:
                known = holder["run_id"] in dead
                why = f"its process {holder['pid']} is gone" if known else death(holder)
            if not why:
                return {"taken": False, "holder": holder}
        _write(folder, mine)
        return {"taken": True, "kept": False, "replaced": holder, "why": why}


def beat(project: Path, run_id: str) -> bool:
    """Note a heartbeat; False if the lock is no longer this run's."""
    with _alone(project) as folder:
        holder = holder_in(folder)
        if not holder or holder["run_id"] != run_id:
            return False
        _write(folder, holder)
        return True


def holds(project: Path, run_id: str) -> bool:
    """Whether the lock is this run's. Writes nothing, so that a full disk does not matter."""
    holder = holder_in(project / FOLDER)
    return bool(holder) and holder is not None and holder["run_id"] == run_id


def release(project: Path, run_id: str) -> bool:
    """Give up the lock of this run; whether it was there. That of another run stays.

    An empty `run_id` names the lock that cannot be read.
    """
    if not (project / FOLDER).is_dir():
        return False
    with _alone(project) as folder:
        holder = holder_in(folder)
        if holder is None or holder.get("run_id", "") != run_id:
            return False
        (folder / NAME).unlink()
        return True


def look(project: Path) -> Holder | None:
    """Who holds the lock, with what `lives`, `death` and `silence` say of it. Of somebody unknown nothing."""
    holder = holder_in(project / FOLDER)
    if not holder:
        return holder
    return {**holder, "lives": lives(holder), "dead": death(holder), "silent": silence(holder)}
