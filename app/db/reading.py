"""People's reads: a few connections of their own, so that no list and no statistic holds back an order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from app.db.pool import Connection, Pool, open_pool

_CONNECTIONS = 3
_STATEMENT_SECONDS = 5
_WAIT_SECONDS = 5.0


class ReadLimitError(TimeoutError):
    """A read was ended by its limits; the database itself answers."""


class ReadTooSlowError(ReadLimitError):
    """The statement took longer than its time limit."""


class ReadsBusyError(ReadLimitError):
    """Other reads kept all connections, or the turn for heavy ones, for longer than a person should wait."""


class ReadingPool:
    """Connections for reading only, each statement limited to 5 s. Heavy reads take turns.

    Orders, decisions and deliveries use the other pool: none of them, no exit least of all, waits for a read.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._heavy = asyncio.Semaphore(1)

    @asynccontextmanager
    async def acquire(self, *, is_heavy: bool = False) -> AsyncIterator[Connection]:
        """Lend a connection; `is_heavy` for what reads a large part of a table.

        Raises:
            ReadLimitError: none became free in 5 s, or a statement in the block took longer than that.
        """
        if not is_heavy:
            async with self._lend() as connection:
                yield connection
            return
        try:
            await asyncio.wait_for(self._heavy.acquire(), _WAIT_SECONDS)
        except TimeoutError as error:
            raise ReadsBusyError from error
        try:
            async with self._lend() as connection:
                yield connection
        finally:
            self._heavy.release()

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement; raises as `acquire` does."""
        async with self.acquire() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
            return rows

    def terminate(self) -> None:
        """Close all connections at once."""
        self._pool.terminate()

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[Connection]:
        waits_for_others = self._pool.get_size() >= _CONNECTIONS and not self._pool.get_idle_size()
        try:
            connection = await self._pool.acquire(timeout=_WAIT_SECONDS)
        except TimeoutError as error:
            if waits_for_others:
                raise ReadsBusyError from error
            raise
        try:
            yield connection
        except asyncpg.QueryCanceledError as error:
            raise ReadTooSlowError from error
        finally:
            await self._pool.release(connection)


async def open_reading_pool(database_url: str) -> ReadingPool:
    """Make the pool; no connection is opened yet."""
    settings = {
        "statement_timeout": f"{_STATEMENT_SECONDS}s",
        "default_transaction_read_only": "on",
        "max_parallel_workers_per_gather": "0",  # one core at most for each
    }
    return ReadingPool(await open_pool(database_url, _CONNECTIONS, role="reading", settings=settings))
