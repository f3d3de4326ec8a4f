"""Refused posts: kept so that a trader can see what is wrong with an alert."""

from collections import deque

from app.context import AppContext
from app.intake import repository
from app.intake.repository import RefusedPost
from app.signals.reasons import Reason

KEPT_POSTS, HEAD_BYTES = 1_000, 2_048


class RefusedPosts:
    """Collects refused posts and writes them together, so that many of them need few commits."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._unwritten: deque[RefusedPost] = deque(maxlen=KEPT_POSTS)

    def add(self, status: int, reason: Reason, client: str, size: int, head: bytes) -> None:
        """Add a post; the newest 1,000 are kept. `size` is in bytes."""
        self._unwritten.append(
            RefusedPost(self._context.clock.now(), status, *reason.columns(), client, size, head[:HEAD_BYTES])
        )

    async def write(self) -> None:
        """Commit the collected posts. If that fails they stay collected."""
        posts = list(self._unwritten)
        if not posts:
            return
        async with self._context.pool.acquire(timeout=5) as connection, connection.transaction():
            await repository.insert_refused_posts(connection, posts=posts)
            await repository.trim_refused_posts(connection, keep=KEPT_POSTS)
        for post in posts:
            # posts that arrived during the commit may have pushed it out
            if self._unwritten and self._unwritten[0] is post:
                self._unwritten.popleft()
        self._context.wakeups.notify("changed")
