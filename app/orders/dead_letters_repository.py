"""The statements of `dead_letters.sql` as typed functions: failed and expired signals, and their replay."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, Field

from app.db.pool import Connection
from app.db.queries import load
from app.orders.repository import lock_signals
from app.signals.amounts import Amount
from app.signals.reasons import ReasonCode
from app.signals.selection import SignalFilter

_SQL = load("app.orders", "dead_letters")

DeadStatus = Literal["failed", "expired"]


class DeadLetter(BaseModel):
    """A signal that was not delivered and is not retried, at one destination at least.

    `blocked`: a later order of its ticker is pending, so it cannot be replayed now. `may_be_executed`: the
    outcome of an attempt is unknown, so replaying an entry may buy twice.
    """

    id: UUID
    seq: int
    status: DeadStatus
    type: str
    ticker: str
    reason: str
    reason_code: str | None = Field(default=None, exclude=True)
    reason_params: dict[str, Any] | None = Field(default=None, exclude=True)
    received_at: datetime
    status_at: datetime
    attempts: int
    round: int
    source: str | None
    quantity: Amount | None
    quantity_unit: str | None
    price: Amount | None
    blocked: bool
    may_be_executed: bool


class ReplayCandidate(NamedTuple):
    """A signal selected for replay, and where: names of destinations.

    `free`: where it may be sent now; none while a later order of its ticker is pending at each. `held`, of a
    signal that was never decided: where its ticker is open or about to be. `may_be_executed`: where an
    attempt of an entry has an unknown outcome.
    """

    id: UUID
    ticker: str
    type: str
    source: str
    is_decided: bool
    free: list[str]
    held: list[str]
    may_be_executed: list[str]


async def read_dead_letters(
    connection: Connection, *, wanted: SignalFilter, before_seq: int | None, limit: int
) -> list[DeadLetter]:
    """Return the failed and expired signals of a filter before a `seq`, newest first."""
    rows = await connection.fetch(_SQL["read_dead_letters"], *wanted.arguments, before_seq, limit)
    return [DeadLetter(**row) for row in rows]


async def read_replay_candidates(
    connection: Connection,
    *,
    wanted: SignalFilter,
    ids: list[UUID] | None,
    limit: int,
    is_buying: bool,
    with_unknown: bool,
    destinations: Sequence[str],
    is_everywhere: bool,
) -> list[ReplayCandidate]:
    """Return the failed and expired signals of a filter, oldest first; `ids` None is any.

    While buying is paused, no destination is free for an entry. Without `with_unknown`, no entry goes where
    it may have been executed. `is_everywhere`: `destinations` are all of them, so that what was not delivered
    at any other one is returned, too.
    """
    rows = await connection.fetch(
        _SQL["read_replay_candidates"],
        *(*wanted.arguments, ids, limit, is_buying, with_unknown, destinations, is_everywhere),
    )
    return list(map(ReplayCandidate._make, rows))


async def start_round(
    connection: Connection, *, places: Mapping[UUID, Sequence[str]], buy_seconds: float, other_seconds: float
) -> int:
    """Approve failed and expired signals again, in a new round; return how many.

    `places` has for each the destinations where it goes. A buy expires `buy_seconds` from now, any other
    `other_seconds`.
    """
    await lock_signals(connection, ids=list(places))
    pairs = [(signal, name) for signal, names in places.items() for name in names]
    rows = await connection.fetch(
        *(_SQL["start_round"], list(places), buy_seconds, other_seconds, ReasonCode.REPLAYED.english),
        *([signal for signal, _ in pairs], [name for _, name in pairs]),
    )
    return len(rows)
