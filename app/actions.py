"""The actions log: who changed what, from where, with which result (SPEC §14)."""

import json
from dataclasses import dataclass

from app.db.pool import Connection
from app.db.queries import load

_SQL = load("config")

DONE = "done"
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a session's id, `token` for a bearer or `file` for an editor; and the address or file."""

    session: str
    origin: str


async def record(
    connection: Connection,
    actor: Actor,
    action: str,
    *,
    target: str = "",
    before: object = None,
    after: object = None,
    result: str = DONE,
) -> None:
    """Write one line of the log; inside the transaction of the change it tells of.

    `before` and `after` are what differs, as JSON, their secrets masked by the caller.
    """
    await connection.execute(
        _SQL["record"],
        actor.session,
        actor.origin,
        action,
        _storable(target),
        _json(before),
        _json(after),
        _storable(result),
    )


def _storable(text: str) -> str:
    """What people typed may hold what PostgreSQL cannot keep, or be endless."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:_LONGEST]


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, default=str)
