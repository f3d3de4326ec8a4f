"""Read signals for people: pages of the list, and the timeline of one signal."""

from uuid import UUID

from app.admin import repository
from app.admin.repository import AttemptRow
from app.admin.schemas import Attempt, Event, Signal, SignalPage, Status, Story
from app.db.pool import Connection
from app.orders.policy import reference_of
from app.signals.statuses import Outcome


async def signal_page(
    connection: Connection, *, limit: int, cursor: int | None, status: Status | None, ticker: str | None
) -> SignalPage:
    """Return at most `limit` signals before `cursor` (a `seq`), newest first."""
    rows = await repository.fetch_signals(
        connection, before_seq=cursor, status=status, ticker=ticker, limit=limit + 1
    )
    signals = [Signal.model_validate(row, from_attributes=True) for row in rows[:limit]]
    return SignalPage(signals=signals, next_cursor=signals[-1].seq if len(rows) > limit else None)


async def signal_timeline(connection: Connection, signal_id: UUID) -> Story | None:
    """Return the signal with its events and attempts from one snapshot; None if there is no such signal."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        found = await repository.fetch_signal(connection, signal_id=signal_id)
        if found is None:
            return None
        events = await repository.fetch_events(connection, signal_id=signal_id)
        attempts = await repository.fetch_attempts(connection, signal_id=signal_id)
    return Story(
        signal=Signal.model_validate(found.signal, from_attributes=True),
        body=readable(found.body),
        events=[Event.model_validate(event, from_attributes=True) for event in events],
        attempts=[_attempt(attempt) for attempt in attempts],
    )


def _attempt(row: AttemptRow) -> Attempt:
    response = None if row.response is None else readable(row.response)
    reference = reference_of(row.response or b"") if row.outcome == Outcome.DELIVERED else None
    return Attempt(**{**row._asdict(), "response": response, "reference": reference})


def readable(content: bytes) -> str:
    """Return bytes from outside as text; bytes that are not UTF-8 become U+FFFD."""
    return content.decode("utf-8", errors="replace")
