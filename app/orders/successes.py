"""Writes down what the destination took: successes that become known during a commit share the next one."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from app.db.away import is_about_rows
from app.db.pool import Connection, Pool
from app.db.queries import load
from app.positions.state import Effect

_SQL = load("delivery")


@dataclass(eq=False, slots=True)
class Success:
    """A 2xx that was seen, and what its order does to the ticker's position. `change`: see `write`."""

    attempt: int
    signal: UUID
    ticker: str
    http_status: int | None
    response: bytes
    effect: Effect
    is_written: bool = False
    change: asyncpg.Record | None = None


class Successes:
    """Group commit without a worker: whoever gets its turn writes down what all others wait for as well."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[Success] = []
        self._turn = asyncio.Lock()

    async def write(self, success: Success) -> asyncpg.Record | None:
        """Return what changed (`position`, `seconds`, `more`, `recovered`) once that is committed.

        None if it was known before, by another sender or by a commit whose answer was lost: writing a success
        again changes nothing.

        Raises:
            asyncpg.PostgresError: it cannot be written, or not now; so do all of `app.db.away.DATABASE_AWAY`.
        """
        self._waiting.append(success)
        try:
            async with self._turn:
                if not success.is_written:
                    await self._write_all(success)
        finally:
            self._waiting.remove(success)
        return success.change

    async def _write_all(self, mine: Success) -> None:
        unwritten = [success for success in self._waiting if not success.is_written]
        together = list({success.ticker: success for success in [*unwritten, mine]}.values())
        async with self._pool.acquire() as connection:
            try:
                await record(connection, together)
            except asyncpg.PostgresError as error:
                if len(together) == 1 or not is_about_rows(error):
                    raise
                await record(connection, [mine])  # the others' own turns show whose row it was


async def record(connection: Connection, successes: list[Success]) -> None:
    """Commit successes of different tickers in one statement."""
    rows = await connection.fetch(
        _SQL["delivered"],
        [success.attempt for success in successes],
        [success.signal for success in successes],
        [success.http_status for success in successes],
        [success.response for success in successes],
        [success.effect.value for success in successes],
    )
    changes = {row["id"]: row for row in rows}
    for success in successes:
        success.change, success.is_written = changes.get(success.signal), True
