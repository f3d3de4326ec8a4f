"""Asks a URL twenty times a second and remembers how long it did not answer."""

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
    longest_gap: float = (
        0.0  # seconds between two answers, as far as they were further apart than the interval
    )
    _stop: threading.Event = field(default_factory=threading.Event)

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
        last_answer = time.monotonic()
        with requests.Session() as session:
            while not self._stop.wait(INTERVAL):
                try:
                    ok = session.get(self.url, timeout=2).status_code == 200
                except requests.RequestException:
                    ok = False
                now = time.monotonic()
                if not ok:
                    self.failed += 1
                    continue
                self.answered += 1
                if now - last_answer > 4 * INTERVAL:
                    self.longest_gap = max(self.longest_gap, now - last_answer)
                last_answer = now
