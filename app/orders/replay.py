"""Dead letters, and sending them again when a person confirms it."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel

from app.config.model import MaxSignalAge
from app.db.pool import Connection
from app.db.queries import load
from app.errors import ConflictError
from app.orders.repository import lock_approvals_exclusive

_SQL = load("app.orders")
MOST_AT_ONCE = 500

DeadStatus = Literal["failed", "expired"]


class DeadLetter(BaseModel):
    """A signal that was not delivered and is not tried again.

    `blocked`: a later order of its ticker is on its way, so it cannot be replayed now.
    """

    id: UUID
    seq: int
    status: DeadStatus
    type: str
    ticker: str
    reason: str
    received_at: datetime
    status_at: datetime
    attempts: int
    round: int
    blocked: bool


class DeadLetterPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    dead_letters: list[DeadLetter]
    next_cursor: int | None


class Choice(NamedTuple):
    """Which dead letters are meant; None is any. The oldest 500 of them at once."""

    ids: list[UUID] | None = None
    status: DeadStatus | None = None
    ticker: str | None = None


class Replay(BaseModel):
    """`count` can be replayed; `blocked` cannot now, for a later order of their ticker is on its way.

    `replayed` is 0 as long as the count is not confirmed.
    """

    count: int
    blocked: list[UUID]
    replayed: int


class CountChangedError(ConflictError):
    """What was confirmed is not what there is."""

    def __init__(self, confirmed: int, found: int) -> None:
        super().__init__(f"{confirmed} were confirmed and it would be {found}: look again, then confirm")


async def page(
    connection: Connection, *, limit: int, cursor: int | None, status: DeadStatus | None, ticker: str | None
) -> DeadLetterPage:
    """The dead letters before `cursor` (a `seq`), newest first, at most `limit`."""
    rows = await connection.fetch(_SQL["dead_letters"], cursor, status, ticker, limit + 1)
    found = [DeadLetter(**row) for row in rows[:limit]]
    return DeadLetterPage(dead_letters=found, next_cursor=found[-1].seq if len(rows) > limit else None)


async def replay(
    connection: Connection, choice: Choice, confirmed: int | None, max_age: MaxSignalAge
) -> Replay:
    """Count what the choice comes to; send it again if that is the number that was confirmed.

    Runs in the caller's transaction. Each gets a new age and a new round: its webhook-id is `<id>.r2`.

    Raises:
        CountChangedError: another number was confirmed.
    """
    await lock_approvals_exclusive(connection)
    rows = await connection.fetch(_SQL["chosen"], *choice, MOST_AT_ONCE)
    free = [row["id"] for row in rows if not row["blocked"]]
    blocked = [row["id"] for row in rows if row["blocked"]]
    if confirmed is None:
        return Replay(count=len(free), blocked=blocked, replayed=0)
    if confirmed != len(free):
        raise CountChangedError(confirmed, len(free))
    done = await connection.fetch(_SQL["replay"], free, max_age.buy, max_age.sell)
    return Replay(count=len(free), blocked=blocked, replayed=len(done))
