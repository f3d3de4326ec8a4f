"""The signs of life that a run gives while it holds its locks, and the plans that are noted with them."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from deploy.onhost import lock

if TYPE_CHECKING:
    from collections.abc import Callable

Plans = dict[str, list[dict[str, str]]]  # host → its steps, as the journal has them


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
