"""The processes of a run, known by its id in their environment, and their end.

Whatever a playbook starts inherits the mark: Ansible's workers, modules, and the programs these start. Linux
only: where there is no /proc nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MARK = "TRADING_SIGNAL_PROCESSOR_RUN"  # variable of the environment; its value is the run's id
GRACE_SECONDS = 5.0  # between TERM and KILL
GIVE_UP_SECONDS = 30.0  # a process that sleeps in the kernel dies when it wakes up
_PROC = Path("/proc")


class LeftoverError(Exception):
    """Processes of a run cannot be ended; the text names them."""


@dataclass(frozen=True)
class Process:
    """One process for all time: `started`, in clock ticks after boot, differs where a number is reused."""

    pid: int
    started: int
    command: str


def started(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None if it is gone. A zombie is gone."""
    try:
        state, *fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if state in (b"Z", b"X") else int(fields[18])


def lives(pid: int, since: int | None) -> bool:
    """Whether that very process is still there; without /proc, whether any of this number is."""
    if _PROC.joinpath("self").exists():
        return since is not None and started(pid) == since
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def of_run(run_id: str) -> list[Process]:
    """The living processes that bear the mark of a run, but for the one that asks."""
    mark, found = f"{MARK}={run_id}".encode(), []
    for folder in _PROC.glob("[0-9]*"):
        try:
            if mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
        pid = int(folder.name)
        since = started(pid)
        if since is not None and pid != os.getpid():
            found.append(Process(pid, since, command))
    return found


def end(run_id: str, grace_seconds: float = GRACE_SECONDS) -> list[Process]:
    """End what is left of a run: TERM, after the grace KILL, until nothing is left; what was ended.

    Raises LeftoverError if something survives that.
    """
    begun = time.monotonic()
    told: dict[Process, None] = {}
    while found := of_run(run_id):
        waited = time.monotonic() - begun
        if waited > GIVE_UP_SECONDS:
            raise LeftoverError(
                f"of run {run_id} there is still " + ", ".join(f"{one.command} ({one.pid})" for one in found)
            )
        force = waited >= grace_seconds
        fresh = [one for one in found if force or one not in told]
        with _handles(found) as handles:
            for one in fresh:
                if one in handles:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(handles[one], signal.SIGKILL if force else signal.SIGTERM)
            told.update(dict.fromkeys(fresh))
            _wait(handles.values(), 1.0 if force else grace_seconds - waited)
    return list(told)


@contextlib.contextmanager
def _handles(processes: Iterable[Process]) -> Iterator[dict[Process, int]]:
    """A file descriptor for each process that still lives; it refers to that process only."""
    with contextlib.ExitStack() as stack:
        handles = {}
        for one in processes:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(one.pid)
                stack.callback(os.close, descriptor)
                if started(one.pid) == one.started:
                    handles[one] = descriptor
        yield handles


def _wait(descriptors: Iterable[int], seconds: float) -> None:
    """Return when all these processes have ended, or after some seconds."""
    poll, left = select.poll(), set(descriptors)
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    end_at = time.monotonic() + seconds
    while left and (remaining := end_at - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(remaining * 1000):
            poll.unregister(descriptor)
            left.discard(descriptor)
