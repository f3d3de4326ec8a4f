"""The connection pool. It connects when asked to: a database that is away delays work, not the start."""

from typing import TYPE_CHECKING

import asyncpg
import msgspec

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:  # generic only for the type checker
    Pool, Connection = asyncpg.Pool, asyncpg.Connection


class _Session(asyncpg.Connection):
    """A connection on which nobody leaves anything: no settings, no session locks, no LISTEN.

    So the statement that would clean up after each use, a round trip of its own, is left out. An open
    transaction is rolled back all the same.
    """

    def get_reset_query(self) -> str:
        """Return no statement."""
        return ""


_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Hand jsonb columns through as Python objects."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="text",
        encoder=lambda value: _encode_json(value).decode(),
        decoder=_decode_json,
    )


async def open_pool(database_url: str, size: int) -> Pool:
    """Make a pool of at most `size` connections; none is opened yet.

    A statement that takes 30 s is broken off: nothing of ours takes a tenth of that.
    """
    return await asyncpg.create_pool(
        database_url,
        min_size=0,
        max_size=size,
        command_timeout=30,
        timeout=5,
        init=_prepare,
        connection_class=_Session,
        server_settings={
            "application_name": "trading-signal-processor",
            "jit": "off",  # compiling a plan takes longer than any of our statements runs
            # A plan is kept while tables grow: one for an empty table would read all of it, again and again.
            "enable_seqscan": "off",
        },
    )
