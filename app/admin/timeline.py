"""Read signals for people: pages of the list, and the timeline of one signal."""

from uuid import UUID

from app.admin import repository
from app.admin.schemas import SignalPage, Status, Story
from app.db.pool import Connection


async def signal_page(
    connection: Connection, *, limit: int, cursor: int | None, status: Status | None, ticker: str | None
) -> SignalPage:
    """Return at most `limit` signals before `cursor` (a `seq`), newest first."""
    rows = await repository.fetch_signals(
        connection, before_seq=cursor, status=status, ticker=ticker, limit=limit + 1
    )
    return SignalPage(signals=rows[:limit], next_cursor=rows[limit - 1].seq if len(rows) > limit else None)


async def signal_timeline(connection: Connection, signal_id: UUID) -> Story | None:
    """Return the signal with its events and attempts from one snapshot; None if there is no such signal."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await repository.fetch_timeline(connection, signal_id=signal_id)
