"""Refuse the database of the replaced system: it has tables of the same names with other columns."""

import asyncpg

from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Connection, connect
from app.errors import MigrationError

_REFUSAL = (
    "the database has the tables of the replaced system, and nothing was changed in it: bring its contents "
    "over with `python3 run.py --import-legacy SOURCE` (docs/moving-over.md)"
)


async def check(database_url: str) -> None:
    """Check the database before the application starts.

    Fails open: one that is unavailable delays work, not the start.

    Raises:
        MigrationError: it is the replaced system's.
    """
    try:
        connection = await connect(database_url, role="check", seconds=2, command_seconds=2)
        try:
            await refuse(connection)
        finally:
            connection.terminate()
    except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError):
        return


async def refuse(connection: Connection) -> None:
    """Refuse a table `signals` with the column `signal_id`, which no version of this system had.

    Raises:
        MigrationError: there is one.
    """
    is_replaced = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('public.signals') "
        "AND attname = 'signal_id' AND NOT attisdropped)"
    )
    if is_replaced:
        raise MigrationError(_REFUSAL)
