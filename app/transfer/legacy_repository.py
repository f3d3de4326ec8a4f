"""The statements of `legacy.sql` as typed functions: reads of the replaced system's database, and inserts."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from app.db.pool import Connection, Pool
from app.db.queries import load

_SQL = load("app.transfer", "legacy")
_PREFETCH = 100
_EVENTS = 1000  # of a signal; older ones are dropped
_SHORTEST_TOKEN = 6
_MOST_TOKENS = 10_000


class OldSignal(NamedTuple):
    """A row of the table `signals`, its `original_signal`, and its events; each as JSON."""

    signal: str
    body: str | None
    events: str


class OldPosition(NamedTuple):
    """A position to store, in the order of the statement's parameters; `closed_at` None is an open one."""

    id: UUID
    ticker: str
    opened_at: datetime
    opened_by: UUID | None
    closed_at: datetime | None
    closed_by: UUID | None
    reason: str


class OldAction(NamedTuple):
    """An action to store, in the order of the statement's parameters; `after` is JSON."""

    at: datetime
    origin: str
    action: str
    target: str
    after: str
    result: str


async def tables(source: Connection) -> frozenset[str]:
    """Return which tables of the replaced system exist."""
    return frozenset(await source.fetchval(_SQL["source_tables"]))


async def has_old_signals(source: Connection) -> bool:
    """Return whether the table `signals`, which exists, is that of the replaced system."""
    found: bool = await source.fetchval(_SQL["source_has_old_signals"])
    return found


async def tokens(source: Connection) -> list[str]:
    """Return the tokens that were typed; none shorter than 6 characters, at most 10,000."""
    rows = await source.fetch(_SQL["source_tokens"], _SHORTEST_TOKEN, _MOST_TOKENS)
    return [row["token"] for row in rows]


async def signals(source: Connection, *, with_events: bool) -> AsyncIterator[OldSignal]:
    """Yield all signals, oldest first. The caller holds a transaction."""
    if with_events:
        cursor = source.cursor(_SQL["source_signals"], _EVENTS, prefetch=_PREFETCH)
    else:
        cursor = source.cursor(_SQL["source_signals_without_events"], prefetch=_PREFETCH)
    async for row in cursor:
        yield OldSignal(**row)


async def texts(source: Connection, name: str, *arguments: object) -> AsyncIterator[str]:
    """Yield the rows of a statement `source_<name>` as JSON. The caller holds a transaction."""
    async for row in source.cursor(_SQL[f"source_{name}"], *arguments, prefetch=_PREFETCH):
        yield row[0]


async def present_signals(database: Connection | Pool, *, ids: Sequence[UUID]) -> set[UUID]:
    """Return which of the signals exist."""
    return {row["id"] for row in await database.fetch(_SQL["present_signals"], ids)}


async def present_positions(database: Connection | Pool, *, ids: Sequence[UUID]) -> set[UUID]:
    """Return which of the positions exist."""
    return {row["id"] for row in await database.fetch(_SQL["present_positions"], ids)}


async def open_tickers(database: Connection | Pool, *, tickers: Sequence[str]) -> set[str]:
    """Return which of the tickers have an open position."""
    return {row["ticker"] for row in await database.fetch(_SQL["open_tickers"], tickers)}


async def adopt(connection: Connection, positions: Sequence[OldPosition], *, reason: str) -> set[UUID]:
    """Insert open positions as unconfirmed; return the ids of those that are new.

    A position that exists is unchanged. A ticker with an open position gets no other one.
    """
    columns = _columns(positions, 4)
    return {row["id"] for row in await connection.fetch(_SQL["adopt"], *columns, reason)}


async def insert_closed(connection: Connection, positions: Sequence[OldPosition]) -> set[UUID]:
    """Insert closed positions; return the ids of those that are new."""
    columns = _columns(positions, len(OldPosition._fields))
    return {row["id"] for row in await connection.fetch(_SQL["insert_closed"], *columns)}


async def last_action(database: Connection | Pool, *, session: str) -> int:
    """Return the number of the newest imported action; -1 before the first one."""
    return int(await database.fetchval(_SQL["last_action"], session))


async def insert_actions(connection: Connection, actions: Sequence[OldAction], *, session: str) -> None:
    """Insert actions in their order."""
    columns = _columns(actions, len(OldAction._fields))
    await connection.execute(_SQL["insert_actions"], session, *columns)


def _columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    return [[row[column] for row in rows] for column in range(width)]
