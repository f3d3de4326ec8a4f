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

# Classes of SQLSTATE that speak of the server or the schema, not of a row: connection, transaction,
# resources, state, operator, system; 42 while a new database waits for its migration; 25: read-only server;
# 28 and 3D while a password or the database itself is being changed.
_NOT_THE_ROWS = frozenset({"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58"})


def is_about_rows(error: Exception) -> bool:
    """Whether PostgreSQL refused a row's content: without that row the same statement would pass."""
    return isinstance(error, asyncpg.PostgresError) and str(error.sqlstate)[:2] not in _NOT_THE_ROWS
