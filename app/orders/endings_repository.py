"""The statements of `endings.sql` as typed functions: what ends signals and orders that have not left.

Each function that changes something runs several statements, so it needs the caller's transaction.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from app.db.pool import Connection, Pool
from app.db.queries import load
from app.orders.repository import lock_signals
from app.signals.reasons import Reason, ReasonCode, templates
from app.signals.statuses import Status

_SQL = load("app.orders", "endings")
_EXPIRY_REASONS = templates(ReasonCode.EXPIRED_UNDECIDED, ReasonCode.EXPIRED_UNSENT, ReasonCode.EXPIRED)


class EndedSignal(NamedTuple):
    """A signal that ended undecided, or its order at a destination, by its name, that had not left."""

    id: UUID
    ticker: str
    destination: str | None
    reason: str


class ExpiredSignal(NamedTuple):
    """A signal that has just expired undecided, or its order at a destination, by its name."""

    id: UUID
    ticker: str
    type: str
    destination: str | None
    reason: str


async def expire(connection: Connection, *, limit: int) -> list[ExpiredSignal]:
    """Expire what is undecided or has not left of up to `limit` signals, and is past its age.

    Skips locked signals: they are being decided or claimed, and the next sweep sees them again.
    """
    overdue = [row["id"] for row in await connection.fetch(_SQL["find_overdue"], limit)]
    locked = await _lock_free(connection, overdue)
    rows = await connection.fetch(_SQL["expire"], locked, _EXPIRY_REASONS) if locked else []
    return list(map(ExpiredSignal._make, rows))


async def _lock_free(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Lock those of the signals that no other transaction has locked, and return them."""
    return [row["id"] for row in await connection.fetch(_SQL["lock_free_signals"], ids)] if ids else []


async def reject_orphans(
    connection: Connection, *, tickers: Sequence[str], destination: str
) -> list[EndedSignal]:
    """Reject the sells that have nothing to close there, after a buy of these tickers ended undelivered."""
    rows = await connection.fetch(
        _SQL["reject_orphans"], tickers, ReasonCode.BUY_UNDELIVERED.english, destination
    )
    if rows:
        await connection.execute(_SQL["end_orders"], [row["id"] for row in rows], Status.REJECTED)
    return list(map(EndedSignal._make, rows))


async def find_unsent_entries(
    connection: Connection | Pool,
    *,
    tickers: Sequence[str] | None,
    until_seq: int | None = None,
    limit: int | None = None,
) -> list[UUID]:
    """Return the buys of these tickers (None: of all) that have not left, decided or not.

    One that was sent to a destination may not have left for another one. With `until_seq`, those up to that
    signal.
    """
    rows = await connection.fetch(_SQL["find_unsent_entries"], tickers, until_seq, limit)
    return [row["id"] for row in rows]


async def end_entries(
    connection: Connection, *, ids: Sequence[UUID], reason: Reason, destination: str | None = None
) -> list[EndedSignal]:
    """Reject those of the buys that have not left; return them.

    With a destination, only the order there of a decided buy is ended. An undecided one has none: it ends.
    """
    await lock_signals(connection, ids=ids)
    rows = await connection.fetch(_SQL["end_entries"], ids, *reason.columns(), destination)
    return list(map(EndedSignal._make, rows))


async def has_unsent_entries(connection: Connection | Pool, *, until_seq: int | None = None) -> bool:
    """Return whether a buy, up to the signal `until_seq` if that is given, has not left, decided or not."""
    return bool(await find_unsent_entries(connection, tickers=None, until_seq=until_seq, limit=1))


async def end_unlocked_entries(
    connection: Connection, *, reason: Reason, until_seq: int | None = None
) -> list[EndedSignal]:
    """Reject the buys, up to the signal `until_seq`, that have not left; return them.

    Fails open: it waits for no row, so that no exit waits for it. A buy that is locked, such as by its claim,
    is passed over.
    """
    unsent = await find_unsent_entries(connection, tickers=None, until_seq=until_seq)
    locked = await _lock_free(connection, unsent)
    return await end_entries(connection, ids=locked, reason=reason) if locked else []
