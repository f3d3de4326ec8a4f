"""Bring the schema up to date, once, however many processes try."""

from contextlib import suppress
from importlib.resources import as_file, files

import asyncpg
from pogo_core.error import BadMigrationError
from pogo_core.util.migrate import apply

from app.db import address, replaced_system
from app.db.pool import Connection, connect
from app.errors import MigrationError

_LOCK = 0x7A51_6D16  # any number: the one advisory lock of migrations
_LOCK_TIMEOUT = "20s"
_SETTINGS = {
    "lock_timeout": _LOCK_TIMEOUT,
    "enable_seqscan": "on",
    # What a migration does to a signal counts for its order, as what a version before does.
    "trading_signals.writes_orders": "off",
}
# Of sessions that are not ours, as psql: an idle transaction must not hold back orders.
_FOREIGN_IDLE = "20s"


async def migrate(database_url: str) -> None:
    """Apply what is missing, under an advisory lock; waiting for any lock is limited to 20 s.

    Raises:
        MigrationError: the database is unavailable or the replaced system's, another migration holds the
            lock, or a statement failed.
    """
    try:
        connection = await connect(
            database_url,
            role="migrate",
            seconds=10,
            command_seconds=None,
            settings=_SETTINGS,
        )
    except asyncpg.PostgresError as error:
        if setting := _named_setting(database_url, error):
            raise MigrationError(
                f"PostgreSQL refused the parameter {setting} of DATABASE_URL (SQLSTATE {error.sqlstate}): "
                "correct or remove it"
            ) from error
        raise MigrationError(
            f"PostgreSQL refused the connection ({type(error).__name__}, SQLSTATE {error.sqlstate}): check "
            "the user, password, database and parameters of DATABASE_URL"
        ) from error
    except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
        raise MigrationError(
            f"PostgreSQL cannot be reached ({type(error).__name__}): is it up, and are host and port of "
            "DATABASE_URL right?"
        ) from error
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await replaced_system.refuse(connection)
        with as_file(files("app.db").joinpath("migrations")) as folder:
            await apply(connection, folder, schema_name="public")
        await _bound_foreign_transactions(connection)
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError(
            f"another migration has held the lock for {_LOCK_TIMEOUT}: wait for it, or end it, and try again"
        ) from error
    except BadMigrationError as error:
        raise MigrationError(
            f"{error}: {error.__cause__ or error}; remove the cause and migrate again"
        ) from error
    finally:
        await connection.close()


def _named_setting(database_url: str, error: asyncpg.PostgresError) -> str:
    """Return the setting of the URL that the server's message names, empty where it names none."""
    said = str(error).lower()
    return next((name for name in address.parse(database_url).settings if f'"{name}"' in said), "")


async def _bound_foreign_transactions(connection: Connection) -> None:
    """Make the time limit a default of the database, unless a person has set one.

    Fails open: a role that may not alter the database migrates all the same; our own sessions set a limit.
    """
    is_set = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, "
        "unnest(s.setconfig) AS setting WHERE d.datname = current_database() AND s.setrole = 0 "
        "AND setting LIKE 'idle_in_transaction_session_timeout=%')"
    )
    if is_set:
        return
    name = await connection.fetchval("SELECT quote_ident(current_database())")
    with suppress(asyncpg.InsufficientPrivilegeError):
        await connection.execute(
            f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '{_FOREIGN_IDLE}'"
        )
