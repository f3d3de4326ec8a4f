"""The client of the receiver process: the destination of measured deliveries."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from benchmarks.version import CHECKOUT

if TYPE_CHECKING:
    from types import TracebackType


class Destination:
    """Use as a context manager; deliveries go to `url`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.receiver"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = f"http://127.0.0.1:{int(self._read())}/hook"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def wait(self, count: int, seconds: float) -> None:
        """Wait until so many requests came.

        Raises:
            RuntimeError: fewer came in time.
        """
        came = int(self._ask(f"wait {count} {seconds}"))
        if came < count:
            raise RuntimeError(f"{came} of {count} deliveries came in {seconds:g} s")

    def arrivals(self) -> dict[str, float]:
        """Return when each request since the last call came, by `webhook-id`, in `time.monotonic()`."""
        moments: dict[str, float] = json.loads(self._ask("report"))
        return moments

    def rate(self, *others: Destination) -> float:
        """Return the requests a second since the last call, with those of others, from first to last."""
        moments = sorted(moment for each in (self, *others) for moment in each.arrivals().values())
        return (len(moments) - 1) / (moments[-1] - moments[0])

    def _ask(self, command: str) -> str:
        if self._process.stdin is None:
            raise RuntimeError("the receiver has no input")
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the receiver has ended")
        return line
