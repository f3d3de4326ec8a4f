"""Stored posts whose senders have no 202: an equal post that follows is a resend.

Only these are recorded, since nearly every post is answered. A process that crashed could not record its own:
after its crash the youngest signals count as unanswered.
"""

import time
from collections import deque
from itertools import count
from uuid import UUID

import structlog

from app.context import AppContext
from app.db.pool import Connection, Pool
from app.intake import repository
from app.intake.dedupe import HEADER_SECONDS
from app.runtime.ids import new_id

log = structlog.get_logger(__name__)

_CRASH_SECONDS = 5.0  # the age of a signal, when a process starts, up to which its answer may have been lost
_MOST_UNRECORDED = 100_000  # while the database is unavailable
_PURGE_ROWS = 5_000


class UnansweredPosts:
    """Collects the signals whose senders have no 202, and records them; and this process while it runs."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        # Fails open: without the oldest of too many, a resend of theirs can be a new alert.
        self._unrecorded = deque[tuple[int, UUID]](maxlen=_MOST_UNRECORDED)
        self._numbers = count()
        self._process_id = new_id()
        self._is_started = False

    def note(self, signal_id: UUID) -> None:
        """Add a signal that is stored, or may be once its commit ends."""
        self._unrecorded.append((next(self._numbers), signal_id))

    async def record(self, connection: Connection | Pool) -> None:
        """Commit what is collected. If that fails it stays collected."""
        if not self._unrecorded:
            return
        numbers, signal_ids = zip(*self._unrecorded, strict=True)
        await repository.insert_unanswered_posts(connection, signal_ids=signal_ids)
        # a signal that was added again meanwhile may have been deleted in between, so it stays
        while self._unrecorded and self._unrecorded[0][0] <= numbers[-1]:
            self._unrecorded.popleft()

    async def purge(self) -> None:
        """Delete what is older than the longest window of deduplication."""
        await repository.purge_unanswered_posts(
            self._context.pool, older_than=HEADER_SECONDS, limit=_PURGE_ROWS
        )

    async def start(self, connection: Connection) -> None:
        """Record that this process stores posts over `connection`; at first, look for one that crashed.

        Posts must not be stored before. Call it again for another connection: a process crashed if its
        connection is gone and it has not ended in order.
        """
        if not self._is_started:
            age = time.monotonic() - self._context.started_at
            signals = await repository.insert_posts_of_crash(connection, max_age=_CRASH_SECONDS + age)
            if signals:
                log.warning("a process crashed; its last senders may have no answer", signals=signals)
        await repository.upsert_process(connection, process_id=self._process_id)
        self._is_started = True

    async def end(self) -> None:
        """Record that every sender has its answer, or is recorded."""
        await self.record(self._context.pool)
        await repository.delete_process(self._context.pool, process_id=self._process_id)
