"""The posts that were not taken, so that a trader sees what the sender did wrong."""

import asyncio
from collections import deque
from datetime import datetime
from typing import NamedTuple

from app.context import AppContext
from app.db.queries import load

KEPT_POSTS, HEAD_BYTES = 1_000, 2_048
_SQL = load("app.intake")
_EVERY_SECONDS = 1.0
_PURGE_ROWS, _PURGE_EVERY_SECONDS = 5_000, 30.0


class Refused(NamedTuple):
    """One refused post. `head` is its beginning, the secret removed; `size` is in bytes."""

    at: datetime
    status: int
    reason: str
    client: str
    size: int
    head: bytes


class RefusedPosts:
    """Collects refused posts and writes them once a second: a flood of them is no flood of commits."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._unwritten: deque[Refused] = deque(maxlen=KEPT_POSTS)

    def add(self, status: int, reason: str, client: str, size: int, head: bytes) -> None:
        """Keep a post; the last 1,000 remain."""
        self._unwritten.append(
            Refused(self._context.clock.now(), status, reason, client, size, head[:HEAD_BYTES])
        )

    async def write(self) -> None:
        """Commit what was collected; it stays collected when that fails."""
        rows = list(self._unwritten)
        if not rows:
            return
        async with self._context.pool.acquire(timeout=5) as connection, connection.transaction():
            await connection.execute(
                _SQL["insert_refused"], *(list(column) for column in zip(*rows, strict=True))
            )
            await connection.execute(_SQL["trim_refused"], KEPT_POSTS)
        for row in rows:
            if self._unwritten and self._unwritten[0] is row:  # a flood may have pushed it out meanwhile
                self._unwritten.popleft()
        self._context.wakeups.notify("changed")

    async def run(self, name: str) -> None:
        """Write refused posts and delete expired deduplication keys."""
        loop = asyncio.get_running_loop()
        purge_at = loop.time()
        while True:
            self._context.supervisor.beat(name)
            await self.write()
            if loop.time() >= purge_at:
                deleted = await self._context.pool.execute(_SQL["purge_keys"], _PURGE_ROWS)
                full = deleted == f"DELETE {_PURGE_ROWS}"
                purge_at = loop.time() + (0 if full else _PURGE_EVERY_SECONDS)
            await asyncio.sleep(_EVERY_SECONDS)
