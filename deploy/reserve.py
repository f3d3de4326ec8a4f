"""Room for the look at what serves after a failure: taken before anything is changed.

A folder for temporary files that fills up in the middle of a flow would otherwise take the verdict with it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from deploy.onhost import causes

BYTES = 4 << 20  # a playbook's private folder and Ansible's temporary files take less than 1 MB
INODES = 200


class NoRoomError(Exception):
    """There is too little room for temporary files to begin; the text says where and what to do."""


class Reserve:
    """Bytes and inodes in the folder for temporary files. `release` may be called more than once."""

    def __init__(self) -> None:
        """Take the room. Raises NoRoomError."""
        place = Path(tempfile.gettempdir())
        self._folder: Path | None = None
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="reserved-by-trading-signal-processor-"))
            for number in range(INODES):
                (self._folder / str(number)).touch()
            with (self._folder / "bytes").open("wb") as file:
                file.write(bytes(BYTES))
                os.fsync(file.fileno())
        except OSError as error:
            self.release()
            raise NoRoomError(f"{causes.explain(error, place)}. Nothing was changed") from error

    def release(self) -> None:
        """Give the room back."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
