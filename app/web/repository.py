"""Tables `ended_sessions` (signed out of, until their cookies would have expired) and `revoked_tokens`."""

from collections.abc import Sequence

from app.db.pool import Connection, Pool
from app.db.queries import load

_SQL = load("app.web")


async def end_sessions(
    connection: Connection | Pool, *, sessions: Sequence[str], kept_seconds: float
) -> None:
    """Store sessions as ended, for `kept_seconds` from now; those that are stored stay as they are."""
    await connection.execute(_SQL["end_sessions"], sessions, kept_seconds)


async def ended_sessions(connection: Connection | Pool) -> frozenset[str]:
    """Return the ended sessions whose cookies have not expired yet."""
    rows = await connection.fetch(_SQL["ended_sessions"])
    return frozenset(row["session"] for row in rows)


async def delete_expired_sessions(connection: Connection | Pool) -> None:
    """Delete the ended sessions whose cookies have expired."""
    await connection.execute(_SQL["delete_expired_sessions"])


async def revoked_tokens(connection: Connection | Pool) -> frozenset[str]:
    """Return the SHA-256 of each named token that was removed."""
    rows = await connection.fetch(_SQL["revoked_tokens"])
    return frozenset(row["sha256"] for row in rows)
