"""What test runs on one machine share: its packages, its engine and the images there.

Workers of one run, and runs of several checkouts, are independent processes. Locked files, which the kernel
unlocks when their holder ends, show which process sets up, and which is the last user.
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = Path(tempfile.gettempdir(), "trading-signal-processor-tests")


def one_at_a_time(what: str) -> FileLock:
    """Return a lock that one process of this machine holds at a time; it is reentrant."""
    _FOLDER.mkdir(exist_ok=True)
    return FileLock(_FOLDER / f"{what}.lock", is_singleton=True)


SETTING_UP = one_at_a_time("setting-up")  # packages, the engine, images


class Shared:
    """A resource that the first user starts and the last one stops."""

    def __init__(self, what: str) -> None:
        self._users = _FOLDER / f"{what}.users"
        self._started = _FOLDER / f"{what}.started"

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Count as a user. Enter it before the check for the resource, while no other process sets up."""
        with self._users.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def note_start(self, identity: str) -> None:
        """Record that tests started it; `identity` identifies this start."""
        self._started.write_text(identity)

    def is_left(self, identity: str) -> bool:
        """Return whether tests started it and no process uses it. Call it while no other process sets up."""
        if not self._started.exists() or self._started.read_text() != identity:
            return False
        with self._users.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        self._started.unlink()
        return True
