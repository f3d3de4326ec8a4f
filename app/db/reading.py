"""People's reads: a few connections of their own, so that no list and no statistic holds back an order."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import asyncpg

from app.db.pool import Connection, Pool, open_pool

_Found = TypeVar("_Found")

_LIGHT_READS, _HEAVY_READS = 3, 1  # at the same time
_STATEMENT_SECONDS = 5
_WAIT_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 2.0  # after a heavy read; shorter than a person's patience for the next one
# A statistic is reused for nine times as long as it took: repeated requests use a tenth of one core.
_REUSE_FACTOR, _LONGEST_REUSE_SECONDS = 9, 30.0
_CHEAP_SECONDS = 0.25  # what took no longer is read again for the next request
# A reused result comes after half to all of the time that it took. Otherwise clients without a pause between
# requests would fill the event loop with answers, and without the spread all of them at the same moment.
_REUSE_DELAY, _LONGEST_REUSE_DELAY_SECONDS = (0.5, 1.0), 1.0
_STATISTICS = 32  # kept at the most


class ReadLimitError(TimeoutError):
    """A read was ended by its limits; the database itself answers."""


class ReadTooSlowError(ReadLimitError):
    """The statement took longer than its time limit."""


class ReadsBusyError(ReadLimitError):
    """Other reads kept all connections, or the turn for heavy ones, for longer than a person should wait."""


@dataclass(eq=False, slots=True)
class _Statistic:
    """A heavy read that runs, or its result while it may be reused."""

    task: "asyncio.Task[Any]" = field(init=False)
    took_seconds: float = 0.0
    expires: float | None = None  # on the monotonic clock; None while it runs

    @property
    def is_usable(self) -> bool:
        return self.expires is None or time.monotonic() < self.expires


class ReadingPool:
    """Connections for reading only, each statement limited to 5 s.

    Heavy reads take turns, with a pause after each that is as long as the read, at most 2 s.
    Orders, decisions and deliveries use the other pool: none of them, no exit least of all, waits for a read.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._light = asyncio.Semaphore(_LIGHT_READS)
        self._heavy = asyncio.Semaphore(_HEAVY_READS)
        self._statistics: dict[Hashable, _Statistic] = {}

    @asynccontextmanager
    async def acquire(self, *, is_heavy: bool = False) -> AsyncIterator[Connection]:
        """Yield a connection; `is_heavy` for what reads a large part of a table.

        Raises:
            ReadLimitError: none became free in 5 s, or a statement in the block took longer than that.
        """
        turn = self._heavy if is_heavy else self._light
        try:
            await asyncio.wait_for(turn.acquire(), _WAIT_SECONDS)
        except TimeoutError as error:
            raise ReadsBusyError from error
        started = time.monotonic()
        try:
            async with self._pool.acquire(timeout=_WAIT_SECONDS) as connection:
                yield connection
        except asyncpg.QueryCanceledError as error:
            raise ReadTooSlowError from error
        finally:
            if is_heavy:
                pause = min(time.monotonic() - started, _LONGEST_PAUSE_SECONDS)
                asyncio.get_running_loop().call_later(pause, turn.release)
            else:
                turn.release()

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement; raises as `acquire` does."""
        async with self.acquire() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
            return rows

    async def compute(self, key: Hashable, read: Callable[[Connection], Awaitable[_Found]]) -> _Found:
        """Return what the heavy read finds. Requests with the same key share one read and its result.

        A result that took more than 250 ms is reused for nine times as long, at most 30 s. A failed read is
        not kept.
        Raises as `acquire` does.
        """
        statistic = self._statistics.get(key)
        if statistic is None or not statistic.is_usable:
            statistic = _Statistic()
            statistic.task = asyncio.create_task(self._compute(key, statistic, read))
            statistic.task.add_done_callback(_retrieve)
            self._statistics.pop(key, None)
            self._statistics[key] = statistic
            if len(self._statistics) > _STATISTICS:
                del self._statistics[next(iter(self._statistics))]
        elif statistic.task.done():
            delay = min(statistic.took_seconds, _LONGEST_REUSE_DELAY_SECONDS)
            await asyncio.sleep(delay * random.uniform(*_REUSE_DELAY))  # noqa: S311  # spread, not secrecy
        # shielded: one client that leaves does not end the read of the others
        return cast("_Found", await asyncio.shield(statistic.task))

    async def _compute(
        self, key: Hashable, statistic: _Statistic, read: Callable[[Connection], Awaitable[_Found]]
    ) -> _Found:
        try:
            async with self.acquire(is_heavy=True) as connection:
                started = time.monotonic()
                found = await read(connection)
        except BaseException:
            if self._statistics.get(key) is statistic:
                del self._statistics[key]
            raise
        now = time.monotonic()
        took = statistic.took_seconds = now - started
        reuse = min(_REUSE_FACTOR * took, _LONGEST_REUSE_SECONDS) if took > _CHEAP_SECONDS else 0.0
        statistic.expires = now + reuse
        return found

    def forget(self) -> None:
        """Reuse no earlier result: a person has just changed what they count."""
        self._statistics.clear()

    def terminate(self) -> None:
        """Close all connections at once."""
        self._pool.terminate()


def _retrieve(task: "asyncio.Task[object]") -> None:
    """Retrieve the exception of a read whose clients have all left; else asyncio logs it."""
    if not task.cancelled():
        task.exception()


async def open_reading_pool(database_url: str) -> ReadingPool:
    """Make the pool; no connection is opened yet."""
    settings = {
        "statement_timeout": f"{_STATEMENT_SECONDS}s",
        "default_transaction_read_only": "on",
        "max_parallel_workers_per_gather": "0",  # one core at most for each
    }
    size = _LIGHT_READS + _HEAVY_READS
    return ReadingPool(await open_pool(database_url, size, role="reading", settings=settings))
