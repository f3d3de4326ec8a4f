"""The heartbeat that a run sends while it holds its locks, the plans noted with them, and lost leases."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from deploy.onhost import lock

if TYPE_CHECKING:
    from collections.abc import Callable

LOST_SECONDS = 90.0  # without a heartbeat that got through; others may take over after 120

Plans = dict[str, list[dict[str, str]]]  # host → its steps, as the journal has them


def _boot_clock() -> float:
    """Seconds on a clock that nobody can set and that runs while this machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Leases:
    """Which of its hosts a run still holds. `on_loss` is called once, for the first one that is lost.

    Fails closed: a lease that could not be renewed for 90 s is lost, because another run may take it over
    before this one hears of it.
    """

    def __init__(self, on_loss: Callable[[], None], clock: Callable[[], float] = _boot_clock) -> None:
        self.lost: dict[str, str] = {}  # host → why
        self._on_loss = on_loss
        self._clock = clock
        self._renewed: dict[str, float] = {}

    def renewed(self, host: str) -> None:
        """The host has the lock of this run, and has noted a heartbeat."""
        self._renewed[host] = self._clock()

    def missed(self, host: str, why: str) -> None:
        """A heartbeat did not get through."""
        silent = self._clock() - self._renewed.setdefault(host, self._clock())
        if silent >= LOST_SECONDS:
            self.gone(host, f"no heartbeat of this run got through for {silent:.0f} s ({why})")

    def gone(self, host: str, why: str) -> None:
        """The lock of the host is not this run's any more."""
        first = not self.lost
        self.lost.setdefault(host, why)
        if first:
            self._on_loss()


class Heartbeat:
    """A thread that calls `beat` every now and then, and at once when a plan has become known.

    `beat` gets the plans that wait to be noted, and takes out those that are.
    """

    def __init__(self, beat: Callable[[Plans], None]) -> None:
        self._beat = beat
        self._news: queue.SimpleQueue[Plans | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin, with the first beat some time from now."""
        self._thread.start()

    def note(self, plans: Plans) -> None:
        """Have these plans noted, now."""
        self._news.put(plans)

    def stop(self) -> None:
        """End, when what was to be noted has been."""
        if self._thread.is_alive():
            self._news.put(None)
            self._thread.join()

    def _run(self) -> None:
        waiting: Plans = {}
        while True:
            try:
                news = self._news.get(timeout=lock.BEAT_SECONDS)
            except queue.Empty:
                news = {}
            if news is None:
                return
            waiting.update(news)
            self._beat(waiting)
