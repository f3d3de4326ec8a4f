"""In-process wake-ups: a commit notifies the workers that wait for it. Each worker polls, too."""

import asyncio
from typing import Literal, get_args
from weakref import WeakKeyDictionary

Topic = Literal["received", "entries", "approved", "listed", "changed", "notifications", "configured"]
"""`received`: signals wait for a decision; `entries`: exits are decided, and entries may wait;
`approved`: deliveries may be due; `listed`: a list was stored;
`changed`: pages are stale; `notifications`: messages to people are due; `configured`: the configuration is
another one."""


class _Bell:
    __slots__ = ("event", "generation", "seen")

    def __init__(self) -> None:
        self.generation = 0
        self.event = asyncio.Event()
        self.seen: WeakKeyDictionary[object, int] = WeakKeyDictionary()


class Wakeups:
    """Topics that any number of tasks wait on; a task also sees a notify between two of its waits."""

    def __init__(self) -> None:
        self._bells: dict[Topic, _Bell] = {topic: _Bell() for topic in get_args(Topic)}

    def notify(self, *topics: Topic) -> None:
        """Wake every task that waits for a topic. Called after the commit, in the event loop's thread."""
        for topic in topics:
            bell = self._bells[topic]
            bell.generation += 1
            bell.event.set()
            bell.event = asyncio.Event()

    async def wait(
        self,
        topic: Topic,
        timeout: float,  # noqa: ASYNC109  # the poll interval, in seconds
        *,
        reader: object | None = None,
    ) -> bool:
        """Return True at a notify that the reader has not seen yet, False after `timeout` seconds.

        The reader is the task, or an object that several tasks share: one of them sees each notify. Its first
        wait returns at once if anything was ever notified: it looks once too often, never too late.
        """
        bell = self._bells[topic]
        reader = reader or asyncio.current_task()
        if bell.generation == bell.seen.get(reader, 0):
            event = bell.event
            try:
                async with asyncio.timeout(timeout):
                    await event.wait()
            except TimeoutError:
                return False
        bell.seen[reader] = bell.generation
        return True
