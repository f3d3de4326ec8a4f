"""Group commit: one transaction for all waiting posts; posts that arrive meanwhile form the next batch."""

import asyncio
from collections import deque
from collections.abc import Sequence

import asyncpg
import structlog

from app import logging, metrics
from app.config.access import DEFAULT_SOURCE
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS, is_about_rows, may_be_about_rows
from app.db.pool import Connection
from app.errors import describe
from app.intake import repository, storing
from app.intake.dedupe import Resolution
from app.intake.storing import Post
from app.intake.unanswered import UnansweredPosts

log = structlog.get_logger(__name__)

BATCH_POSTS, BATCH_BYTES, UNCOMMITTED_BYTES = 500, 8_000_000, 32_000_000
ANSWER_SECONDS = 2.0  # TradingView gives up after 3
_COMMIT_SECONDS, _RETRY_SECONDS, _IDLE_SECONDS = 10.0, 0.1, 5.0


class OverloadedError(Exception):
    """The waiting posts hold the maximum of 32 MB."""


class NotCommittedInTimeError(Exception):
    """No commit within 2 s: the post is withdrawn, unless its commit has begun."""


class RefusedByDatabaseError(Exception):
    """PostgreSQL refuses this post; the text is its reason."""


class GroupCommit:
    """Commits the posts of all requests in batches, in the order of arrival."""

    def __init__(self, context: AppContext, unanswered: UnansweredPosts) -> None:
        self._context = context
        self._unanswered = unanswered
        self._queue: deque[Post] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._bytes = 0  # of the posts in the queue and in the current batch
        # every post waits equally long, so one timer for the oldest is enough: one each costs too much here
        self._deadlines: deque[tuple[float, Post]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Posts in the queue."""
        return len(self._queue)

    def submit(self, post: Post) -> None:
        """Queue a post; within 2 s `post.answer` has its resolution.

        `post.answer` raises NotCommittedInTimeError or RefusedByDatabaseError.
        Fails closed: a post beyond 32 MB of waiting posts is not queued, an exit like an entry.

        Raises:
            OverloadedError: waiting posts hold 32 MB already.
        """
        if self._bytes + post.size > UNCOMMITTED_BYTES:
            raise OverloadedError
        self._bytes += post.size
        self._queue.append(post)
        self._arrived.set()
        self._idle.clear()
        self._deadlines.append((asyncio.get_running_loop().time() + ANSWER_SECONDS, post))
        if self._timer is None:
            self._expire_waits()

    async def drain(self, limit_seconds: float) -> bool:
        """Wait at most `limit_seconds` until every post is committed or withdrawn; return whether all are."""
        try:
            async with asyncio.timeout(limit_seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("stopped with uncommitted posts; none of them was answered 202", posts=self.waiting)
            return False
        return True

    async def run(self, name: str) -> None:
        """Commit batches over a dedicated connection, so that busy workers never delay an alert.

        Fails closed: while the database is unavailable it retries with the posts whose requests still wait.
        The others were answered with 503 and are not stored.
        """
        is_unavailable = False
        while True:
            try:
                async with self._context.pool.acquire(timeout=_IDLE_SECONDS) as connection:
                    await self._unanswered.start(connection)
                    while True:
                        self._context.supervisor.beat(name)
                        if batch := self._next_batch():
                            await self._commit(connection, batch)
                            is_unavailable = False
                        elif self._context.intake_failure:
                            await self._probe(connection)
                        else:
                            await self._wait_for_post()
            except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
                if not is_unavailable:
                    log.warning("intake cannot commit; retrying", error=describe(error))
                is_unavailable = True
                self._context.intake_failure = describe(error)
                self._context.supervisor.beat(name)
                waiting = list(self._queue)
                self._queue.clear()
                self._requeue(waiting)
                await asyncio.sleep(_RETRY_SECONDS)

    def _expire_waits(self) -> None:
        """Withdraw posts that have waited for 2 s, and set the timer for the next one."""
        loop = asyncio.get_running_loop()
        while self._deadlines and (
            self._deadlines[0][0] <= loop.time() or self._deadlines[0][1].answer.done()
        ):
            _, post = self._deadlines.popleft()
            if not post.answer.done():
                post.answer.set_exception(NotCommittedInTimeError())
                self._note_unanswered(post)
                self._context.intake_failure = self._context.intake_failure or "no commit within 2 s"
        self._timer = loop.call_at(self._deadlines[0][0], self._expire_waits) if self._deadlines else None

    async def _wait_for_post(self) -> None:
        """Wait until a post arrives, at most 5 s: the worker's heartbeat is due then."""
        self._idle.set()
        self._arrived.clear()
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._arrived.wait()
        except TimeoutError:
            return

    async def _probe(self, connection: Connection) -> None:
        """Test with a transaction that is rolled back whether posts can be stored again."""
        transaction = connection.transaction()
        await transaction.start()
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                await repository.probe_insert(connection)
        finally:
            await transaction.rollback()
        self._context.intake_failure = ""

    def _next_batch(self) -> list[Post]:
        """Remove the next batch from the queue, without the posts that were withdrawn."""
        batch, size = list[Post](), 0
        while self._queue and len(batch) < BATCH_POSTS and size + self._queue[0].size <= BATCH_BYTES:
            post = self._queue.popleft()
            if post.answer.done():
                self._drop(post)
            else:
                batch.append(post)
                size += post.size
        return batch

    def _requeue(self, posts: Sequence[Post]) -> None:
        """Put posts back at the front of the queue, without those withdrawn meanwhile."""
        for post in reversed(posts):
            if post.answer.done():
                self._drop(post)
            else:
                self._queue.appendleft(post)
        if not self._queue:
            self._idle.set()

    def _drop(self, post: Post) -> None:
        """Forget a post whose request has ended."""
        self._bytes -= post.size
        self._note_unanswered(post)

    def _note_unanswered(self, post: Post) -> None:
        """Record that the sender of a post that is stored, or may be, has no 202."""
        if post.stored_as:
            self._unanswered.note(post.stored_as)

    async def _commit(self, connection: Connection, batch: Sequence[Post]) -> None:
        """Commit a batch. Posts that it does not settle, for whatever reason, are queued again.

        A post that PostgreSQL cannot store now delays no other one; its error is raised after the others.
        """
        settled: dict[Post, Resolution | None] = {}
        failure: asyncpg.PostgresError | None = None
        parts = [batch]
        for post in batch:
            if post.stored_as not in (None, post.id):  # its commit may have answered the first post
                self._note_unanswered(post)
            post.stored_as = post.id
        try:
            while parts:
                part = parts.pop()
                try:
                    async with asyncio.timeout(_COMMIT_SECONDS):
                        resolutions = await storing.store(connection, part, self._unanswered)
                except asyncpg.PostgresError as error:
                    if not may_be_about_rows(error):
                        raise
                    if len(part) == 1 and is_about_rows(error):
                        settled[part[0]] = None
                        self._refuse(part[0], error)
                    elif len(part) == 1:
                        failure = error
                    else:  # one row may be the cause: halve the part until that row is alone
                        middle = len(part) // 2
                        parts += [part[middle:], part[:middle]]
                else:
                    settled.update(zip(part, resolutions, strict=True))
                    self._publish(part, resolutions)
        finally:
            self._bytes -= sum(post.size for post in settled)
            self._requeue([post for post in batch if post not in settled])
        if failure:
            raise failure

    def _publish(self, part: Sequence[Post], resolutions: Sequence[Resolution]) -> None:
        """Answer the requests, count, wake the workers and log; called after the commit."""
        new = storing.new_posts(part, resolutions)
        undecided = sum(not post.is_rejected for post in new)
        self._context.queues.received += undecided
        for post, resolution in zip(part, resolutions, strict=True):
            self._answer(post, resolution)
        while self._deadlines and self._deadlines[0][1].answer.done():
            self._deadlines.popleft()
        self._context.intake_failure = ""
        metrics.GROUP_COMMIT_SIZE.observe(len(part))
        metrics.SIGNALS_RECEIVED.inc(len(new))
        if undecided:
            self._context.wakeups.notify("received")
        self._context.wakeups.notify("changed")
        logging.write_lines("signal received", (_log_fields(post) for post in new))

    def _answer(self, post: Post, resolution: Resolution) -> None:
        if resolution.signal_id not in (post.id, None):
            metrics.SIGNALS_DUPLICATE.inc()
            if storing.is_swallowed_exit(post, resolution):
                metrics.PARTIAL_EXITS_DUPLICATE.inc()
                log.warning(
                    "equal partial exit is a duplicate", signal_id=resolution.signal_id, ticker=post.ticker
                )
        if not post.answer.done():
            post.answer.set_result(resolution)
        else:
            self._note_unanswered(post)

    @staticmethod
    def _refuse(post: Post, error: asyncpg.PostgresError) -> None:
        what = describe(error)
        log.error("PostgreSQL refuses a post", signal_id=post.id, ticker=post.alert.ticker, error=what)
        if not post.answer.done():
            post.answer.set_exception(RefusedByDatabaseError(what))


def _log_fields(post: Post) -> dict[str, object]:
    alert = post.alert
    fields: dict[str, object] = {"signal_id": post.id, "ticker": alert.ticker, "type": alert.reading.type}
    if post.source != DEFAULT_SOURCE:
        fields["source"] = post.source
    if post.rejection:
        fields["rejected"] = str(post.rejection)
    if alert.remarks:
        fields["remarks"] = [str(remark) for remark in alert.remarks]
    return fields
