"""What PostgreSQL raises while it is unavailable, full or overloaded; other errors are defects of ours."""

import asyncpg

TRANSIENT_DB_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a connection that was just cut raises
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, a cancelled statement
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.TransactionRollbackError,  # a deadlock: the other side went on
    # refused sessions and writes, while an administrator changes the role, the database or the server
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.ReadOnlySQLTransactionError,
)

# Classes of SQLSTATE that speak of a row: data exceptions and broken constraints.
_ABOUT_ROWS = frozenset({"22", "23"})

# Classes of SQLSTATE about the server or the schema, so every statement fails: connection, transaction,
# resources, state, operator, system. 42: a new database waits for its migration. 25: read-only server.
# 28 and 3D: a password or the database itself is being changed.
_ABOUT_THE_SERVER = frozenset({"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58"})


def is_about_rows(error: Exception) -> bool:
    """Return whether PostgreSQL refused a row's content, so that a retry cannot succeed.

    Fails open: after any other error, an unknown one too, the statement is tried again.
    """
    return isinstance(error, asyncpg.PostgresError) and _class_of(error) in _ABOUT_ROWS


def may_be_about_rows(error: Exception) -> bool:
    """Return whether the same statement could pass without one of its rows: then the others go alone.

    True also for errors of a damaged index, a limit or a trigger, which one row or every row may cause.
    """
    return isinstance(error, asyncpg.PostgresError) and _class_of(error) not in _ABOUT_THE_SERVER


def _class_of(error: asyncpg.PostgresError) -> str:
    return str(error.sqlstate)[:2]
