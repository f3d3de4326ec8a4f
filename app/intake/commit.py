"""Group commit: all that waits goes into one transaction; the commit before is the window."""

import asyncio
from collections import deque
from collections.abc import Sequence

import asyncpg
import structlog

from app import logging, metrics
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS, is_about_rows
from app.db.pool import Connection
from app.db.queries import load
from app.errors import describe
from app.intake.dedupe import Verdict, collapse_batch, resolve_follower
from app.intake.store import Post, store

log = structlog.get_logger(__name__)

BATCH_POSTS, BATCH_BYTES, UNCOMMITTED_BYTES = 500, 8_000_000, 32_000_000
ANSWER_SECONDS = 2.0  # TradingView gives up after 3
_COMMIT_SECONDS, _RETRY_SECONDS, _IDLE_SECONDS = 10.0, 0.1, 5.0


_TRY_WRITING = load("app.intake")["try_writing"]


class OverloadedError(Exception):
    """More is waiting than may wait."""


class NotCommittedInTimeError(Exception):
    """The request has to be answered now; its post is withdrawn, unless its commit is under way."""


class RefusedByDatabaseError(Exception):
    """PostgreSQL does not take this one post; the text is its reason."""


class GroupCommit:
    """Takes posts from any number of requests and commits them in batches, in the order they came."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._queue: deque[Post] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._bytes = 0  # of posts in the queue and in the batch under way
        # all wait equally long, so the oldest one's timer serves for all: a timer each is dear at this rate
        self._deadlines: deque[tuple[float, asyncio.Future[Verdict]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Posts in the queue."""
        return len(self._queue)

    def submit(self, post: Post) -> None:
        """Queue a post; `post.answer` says what became of it, within 2 s.

        It raises NotCommittedInTimeError or RefusedByDatabaseError.

        Raises:
            OverloadedError: 32 MB wait already.
        """
        if self._bytes + post.size > UNCOMMITTED_BYTES:
            raise OverloadedError
        self._bytes += post.size
        self._queue.append(post)
        self._arrived.set()
        self._idle.clear()
        self._deadlines.append((asyncio.get_running_loop().time() + ANSWER_SECONDS, post.answer))
        if self._timer is None:
            self._give_up()

    async def drain(self, limit_seconds: float) -> None:
        """Wait until everything accepted is committed or given up, at most `limit_seconds`."""
        try:
            async with asyncio.timeout(limit_seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("stopped with uncommitted posts; none of them was answered 202", posts=self.waiting)

    async def run(self, name: str) -> None:
        """Commit, on a connection of its own, so that busy workers never keep an alert waiting.

        While the database is unavailable it keeps trying, with the posts that are still waited for.
        """
        away = False
        while True:
            try:
                async with self._context.pool.acquire(timeout=_IDLE_SECONDS) as connection:
                    while True:
                        self._context.supervisor.beat(name)
                        if batch := self._take():
                            await self._commit(connection, batch)
                            away = False
                        elif self._context.intake_failure:
                            await self._try_writing(connection)
                        else:
                            await self._next_arrival()
            except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
                if not away:
                    log.warning("intake cannot commit, and keeps trying", error=describe(error))
                away = True
                self._context.intake_failure = describe(error)
                self._context.supervisor.beat(name)
                self._put_back(self._take_all())
                await asyncio.sleep(_RETRY_SECONDS)

    def _give_up(self) -> None:
        """End the waits that have lasted too long, and come back for the next."""
        loop = asyncio.get_running_loop()
        while self._deadlines and (self._deadlines[0][0] <= loop.time() or self._deadlines[0][1].done()):
            _, answer = self._deadlines.popleft()
            if not answer.done():
                answer.set_exception(NotCommittedInTimeError())
                self._context.intake_failure = self._context.intake_failure or "no commit within 2 s"
        self._timer = loop.call_at(self._deadlines[0][0], self._give_up) if self._deadlines else None

    async def _next_arrival(self) -> None:
        self._idle.set()
        self._arrived.clear()
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._arrived.wait()
        except TimeoutError:
            return  # nothing came: time for a beat

    async def _try_writing(self, connection: Connection) -> None:
        """Find out, without waiting for a post, whether posts can be stored again; nothing is kept of it."""
        transaction = connection.transaction()
        await transaction.start()
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                await connection.execute(_TRY_WRITING)
        finally:
            await transaction.rollback()
        self._context.intake_failure = ""

    def _take(self) -> list[Post]:
        """Take the next batch off the queue; withdrawn posts fall away."""
        batch, size = list[Post](), 0
        while self._queue and len(batch) < BATCH_POSTS and size + self._queue[0].size <= BATCH_BYTES:
            post = self._queue.popleft()
            if post.answer.done():
                self._bytes -= post.size
            else:
                batch.append(post)
                size += post.size
        return batch

    def _take_all(self) -> list[Post]:
        everything = list(self._queue)
        self._queue.clear()
        return everything

    def _put_back(self, posts: Sequence[Post]) -> None:
        """Queue posts again, before all others, but for those withdrawn meanwhile."""
        for post in reversed(posts):
            if post.answer.done():
                self._bytes -= post.size
            else:
                self._queue.appendleft(post)
        if not self._queue:
            self._idle.set()

    async def _commit(self, connection: Connection, batch: Sequence[Post]) -> None:
        """Commit a batch. What is not settled by it, for whatever reason, is in the queue again."""
        settled: dict[Post, Verdict | None] = {}
        leaders, followers = collapse_batch(batch)
        parts = [leaders]
        try:
            while parts:
                part = parts.pop()
                try:
                    async with asyncio.timeout(_COMMIT_SECONDS):
                        verdicts = await store(connection, part)
                except asyncpg.PostgresError as error:
                    if not is_about_rows(error):
                        raise
                    if len(part) == 1:
                        settled[part[0]] = None
                        self._refuse(part[0], error)
                    else:  # somewhere in it is a row that PostgreSQL does not take: close in on it
                        middle = len(part) // 2
                        parts += [part[middle:], part[:middle]]
                else:
                    settled.update(zip(part, verdicts, strict=True))
                    self._announce(part, verdicts)
            for post, leader in followers:
                verdict = settled[leader]
                if verdict and (same := resolve_follower(post, leader, verdict)):
                    settled[post] = same
                    self._answer(post, same)
        finally:
            self._bytes -= sum(post.size for post in settled)
            self._put_back([post for post in batch if post not in settled])

    def _announce(self, part: Sequence[Post], verdicts: Sequence[Verdict]) -> None:
        """Answer the requests, wake the workers, write the log: all after the commit."""
        new = [post for post, verdict in zip(part, verdicts, strict=True) if verdict.first == post.id]
        undecided = sum(post.alert.order.type is not None for post in new)
        self._context.queues.received += undecided
        for post, verdict in zip(part, verdicts, strict=True):
            self._answer(post, verdict)
        while self._deadlines and self._deadlines[0][1].done():
            self._deadlines.popleft()
        self._context.intake_failure = ""
        metrics.GROUP_COMMIT_SIZE.observe(len(part))
        metrics.SIGNALS_RECEIVED.inc(len(new))
        if undecided:
            self._context.wakeups.notify("received")
        if new:
            self._context.wakeups.notify("changed")
        logging.write_lines("signal received", (_log_fields(post) for post in new))

    @staticmethod
    def _answer(post: Post, verdict: Verdict) -> None:
        if verdict.first not in {post.id, None}:
            metrics.SIGNALS_DUPLICATE.inc()
        if not post.answer.done():
            post.answer.set_result(verdict)

    @staticmethod
    def _refuse(post: Post, error: asyncpg.PostgresError) -> None:
        what = describe(error)
        log.error("PostgreSQL refuses a post", signal_id=post.id, ticker=post.alert.ticker, error=what)
        if not post.answer.done():
            post.answer.set_exception(RefusedByDatabaseError(what))


def _log_fields(post: Post) -> dict[str, object]:
    order = post.alert.order
    fields: dict[str, object] = {"signal_id": post.id, "ticker": post.alert.ticker, "type": order.type}
    return {**fields, "rejected": order.reason} if order.reason else fields
