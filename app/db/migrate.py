"""Brings the schema up to date, once however many processes try (SPEC §3 "Migrations")."""

from importlib.resources import as_file, files

import asyncpg
from pogo_core.error import BadMigrationError
from pogo_core.util.migrate import apply

from app.errors import MigrationError

_LOCK = 0x7A51_6D16  # any number: the one advisory lock of migrations
_LOCK_TIMEOUT = "20s"


async def migrate(database_url: str) -> None:
    """Apply what is missing, under an advisory lock; waiting for any lock is limited to 20 s.

    Raises:
        MigrationError: the database is away, another migration holds the lock, or a statement failed.
    """
    try:
        connection = await asyncpg.connect(
            database_url,
            timeout=10,
            server_settings={"application_name": "migrate", "lock_timeout": _LOCK_TIMEOUT},
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise MigrationError(
            f"PostgreSQL cannot be reached ({error or type(error).__name__}): is it up?"
        ) from error
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        with as_file(files("app.db").joinpath("migrations")) as folder:
            await apply(connection, folder, schema_name="public")
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError(
            f"another migration has held the lock for {_LOCK_TIMEOUT}: wait for it, or end it, and try again"
        ) from error
    except BadMigrationError as error:
        raise MigrationError(f"{error}: {error.__cause__ or error}; nothing of that step was kept") from error
    finally:
        await connection.close()
