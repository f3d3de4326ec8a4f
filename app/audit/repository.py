"""Table `actions`, the actions log: who changed what, from where, with which result."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

from app.db.pool import Connection, Pool
from app.db.queries import load
from app.errors import RefusedError
from app.signals.amounts import fixed_point
from app.signals.reasons import Reason

_SQL = load("app.audit")

DONE = "done"
REFUSED = "refused: "  # followed by the reason
_MAX_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    `session`: its id, `token` for a bearer token, `file` for an edited file. `origin`: the address or file.
    `name` is the token's, None for an edited file.
    """

    session: str
    origin: str
    name: str | None = None


@asynccontextmanager
async def attempt(
    connection: Connection | Pool, actor: Actor, action: str, *, target: str = "", before: object = None
) -> AsyncIterator[None]:
    """Record a refusal of the change in this block: who tried what, and why it was refused.

    Enclose the transaction of the change, which is rolled back. `before`: what the person saw, if recorded.
    """
    try:
        yield
    except RefusedError as error:
        await record(connection, actor, action, target=target, before=before, refusal=error.reason)
        raise


async def record(
    connection: Connection | Pool,
    actor: Actor,
    action: str,
    *,
    target: str = "",
    before: object = None,
    after: object = None,
    refusal: Reason | None = None,
) -> None:
    """Insert one action. Call it in the transaction of the change, so that both are committed or neither.

    `refusal`: why it was refused, None if it was done. `before` and `after`: the values that differ, written
    as JSON. The caller masks their secrets.
    """
    text, code, parameters = refusal.columns() if refusal else ("", None, None)
    result = f"{REFUSED}{text}" if refusal else DONE
    if _storable(result) != result:  # the code would not match the stored text
        code = parameters = None
    await connection.execute(
        _SQL["insert_action"],
        actor.session,
        actor.origin,
        actor.name,
        action,
        _storable(target),
        _json(before),
        _json(after),
        _storable(result),
        code,
        parameters,
    )


def _storable(text: str) -> str:
    """Replace NUL, which PostgreSQL cannot store, and cut the text to 1,000 characters."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:_MAX_LENGTH]


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, default=_text)


def _text(value: object) -> str:
    return fixed_point(value) if isinstance(value, Decimal) else str(value)
