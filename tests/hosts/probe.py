"""Requests a URL twenty times a second and records how long it did not answer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import requests

if TYPE_CHECKING:
    from types import TracebackType

INTERVAL = 0.05


@dataclass
class Probe:
    """Use as a context manager around what may interrupt the service; then read the figures."""

    url: str
    answered: int = 0
    failed: int = 0
    # From the last answer before a request that failed to the first one after it (monotonic seconds).
    gaps: list[tuple[float, float]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def longest_gap(self) -> float:
        """Return the longest time without an answer, in seconds; 0 without any."""
        return max((end - start for start, end in self.gaps), default=0.0)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="probe")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last_answer, silent = time.monotonic(), False
        with requests.Session() as session:
            while not self._stop.wait(INTERVAL):
                try:
                    ok = session.get(self.url, timeout=2).status_code == 200
                except requests.RequestException:
                    ok = False
                now = time.monotonic()
                if not ok:
                    self.failed += 1
                    silent = True
                    continue
                self.answered += 1
                if silent:
                    self.gaps.append((last_answer, now))
                last_answer, silent = now, False
