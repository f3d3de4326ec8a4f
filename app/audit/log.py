"""The actions log: who changed what, from where, with which result."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.db.pool import Connection, Pool
from app.db.queries import load
from app.errors import RefusedError

_SQL = load("app.audit")

DONE = "done"
REFUSED = "refused: "  # and why
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a session's id, `token` for a bearer or `file` for an editor; and the address or file."""

    session: str
    origin: str


@asynccontextmanager
async def attempt(
    database: Connection | Pool, actor: Actor, action: str, *, target: str = "", before: object = None
) -> AsyncIterator[None]:
    """Let a refusal leave a line too: who tried what, and why it was not done.

    Around the transaction of the change, for that is rolled back. `before`: what the person went by.
    """
    try:
        yield
    except RefusedError as error:
        await record(database, actor, action, target=target, before=before, result=f"{REFUSED}{error}")
        raise


async def record(
    database: Connection | Pool,
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
    await database.execute(
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
