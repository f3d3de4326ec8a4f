"""The fence of a checkout: a step that changes something runs only while its run holds the lock.

Each such step holds the checkout's folder with a shared `flock` from before it reads the lock until it has
ended. A run that takes the lock over writes its own name first, ends what the other run has left, and then
waits until nobody holds the folder. So there is no moment between the look at the lock and the step.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from typing import TYPE_CHECKING

from . import journal, leftovers, lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BY_HAND = frozenset({"", "by-hand"})  # run ids of a role that is played on its own, in no run
SETTLE_SECONDS = 30.0
_PAUSE_SECONDS = 0.1


class FenceError(Exception):
    """The run does not hold the lock, so the step was not carried out; the text says who holds it."""


@contextlib.contextmanager
def passing(project: Path, run_id: str) -> Iterator[None]:
    """Let the block run if `run_id` holds the lock of `project`, and keep others out until it has ended.

    A role that is played on its own has no lock: it passes while nobody else has one. A playbook that was
    started without run.py has no heartbeat: each of its steps renews its lease here. Raises FenceError.

    Fails open: a lease that lapsed is still this run's until another run has taken it over. To refuse such a
    step could leave nothing serving, and the next holder waits for the end of the step.
    """
    if not project.is_dir():  # the first deployment of a host, by hand: nobody can hold a lock there
        yield
        return
    with _folder(project) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        holder = verify(project, run_id)
        if holder and "lease_seconds" in holder:
            # Fails open: a full disk stops no step that may be an exit from it.
            with contextlib.suppress(OSError):
                lock.beat(project, run_id)
        yield


def verify(project: Path, run_id: str) -> lock.Holder | None:
    """Return who holds the lock of `project`. Raise FenceError unless that is `run_id`.

    Fails closed: a lock that cannot be read is another run's.
    """
    holder = lock.holder_in(project / lock.FOLDER)
    if holder is None and run_id in BY_HAND:
        return None
    if holder is None:
        later = journal.next_after(project, run_id)
        how = f"taken over by {named(later)}, which has ended" if later else "released"
        raise FenceError(f"The lock of {project}, which run {run_id} had, was {how}. {_NOT_DONE}")
    if not holder:
        raise FenceError(f"The lock of {project} cannot be read. {_NOT_DONE}")
    if holder["run_id"] != run_id:
        raise FenceError(f"The lock of {project} belongs to {named(holder)}. {_NOT_DONE}")
    return holder


def named(run: lock.Holder) -> str:
    """Which run that is."""
    return f"run {run['run_id']} of {run['user']} on {run['machine']} since {run['since']}"


def settle(project: Path, seconds: float = SETTLE_SECONDS) -> None:
    """Wait until no step of another run is under way in `project`. Raises LeftoverError if one still is."""
    end_at = time.monotonic() + seconds
    pause = threading.Event()
    with _folder(project) as descriptor:
        while not _is_free(descriptor):
            if time.monotonic() > end_at:
                raise leftovers.LeftoverError("a step of the run before is still under way there")
            pause.wait(_PAUSE_SECONDS)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _folder(project: Path) -> Iterator[int]:
    descriptor = os.open(project, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


_NOT_DONE = "This step was not carried out."
