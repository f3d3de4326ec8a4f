"""Tables `ended_sessions` (signed out of, until their cookies would have expired) and `revoked_tokens`."""

from collections.abc import Sequence
from typing import NamedTuple

from app.db.pool import Connection, Pool
from app.db.queries import load

_SQL = load("app.web")


class Ended(NamedTuple):
    """What does not count any more: sessions by their ids, named tokens by their SHA-256."""

    sessions: frozenset[str]
    tokens: frozenset[str]


async def end_sessions(
    connection: Connection | Pool, *, sessions: Sequence[str], kept_seconds: float
) -> None:
    """Store sessions as ended, for `kept_seconds` from now; those that are stored stay as they are."""
    await connection.execute(_SQL["end_sessions"], sessions, kept_seconds)


async def read_ended(connection: Connection | Pool) -> Ended:
    """Return the ended sessions whose cookies have not expired yet, and the revoked tokens."""
    rows = await connection.fetch(_SQL["read_ended"])
    return Ended(
        frozenset(row["session"] for row in rows if row["session"] is not None),
        frozenset(row["sha256"] for row in rows if row["sha256"] is not None),
    )


async def delete_expired_sessions(connection: Connection | Pool) -> None:
    """Delete the ended sessions whose cookies have expired."""
    await connection.execute(_SQL["delete_expired_sessions"])
