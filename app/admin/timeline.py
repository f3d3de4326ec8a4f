"""Reads signals for people: the list by pages, and the whole story of one."""

from uuid import UUID

import asyncpg

from app.admin.schemas import Attempt, Event, Signal, SignalPage, Status, Story
from app.db.pool import Connection
from app.db.queries import load
from app.orders.policy import reference_of
from app.signals.statuses import Outcome

_SQL = load("app.admin")


async def signal_page(
    connection: Connection, *, limit: int, cursor: int | None, status: Status | None, ticker: str | None
) -> SignalPage:
    """The signals before `cursor` (a `seq`), newest first, at most `limit`."""
    rows = await connection.fetch(_SQL["signals"], cursor, status, ticker, limit + 1)
    signals = [Signal(**row) for row in rows[:limit]]
    return SignalPage(signals=signals, next_cursor=signals[-1].seq if len(rows) > limit else None)


async def story(connection: Connection, signal_id: UUID) -> Story | None:
    """Everything kept about the signal, as of one moment; None if there is no such signal."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(_SQL["signal"], signal_id)
        if row is None:
            return None
        events = await connection.fetch(_SQL["events"], signal_id)
        attempts = await connection.fetch(_SQL["attempts"], signal_id)
    return Story(
        signal=Signal(**{name: row[name] for name in Signal.model_fields}),
        body=readable(row["body"]),
        events=[Event(**event) for event in events],
        attempts=[_attempt(attempt) for attempt in attempts],
    )


def _attempt(row: asyncpg.Record) -> Attempt:
    kept: bytes | None = row["response"]
    answer = None if kept is None else readable(kept)
    reference = reference_of(kept or b"") if row["outcome"] == Outcome.DELIVERED else None
    return Attempt(**{**row, "response": answer, "reference": reference})


def readable(content: bytes) -> str:
    """Bytes from outside as text; what is not UTF-8 becomes U+FFFD rather than an error."""
    return content.decode("utf-8", errors="replace")
