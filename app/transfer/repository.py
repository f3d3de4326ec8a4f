"""The statements of `queries.sql` as typed functions: export, import and clearance of the signals."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.db.pool import Connection, Pool
from app.db.queries import affected_rows, fetch_one, load
from app.db.reading import ReadingPool

_SQL = load("app.transfer")


class Extent(NamedTuple):
    """The newest signal's `seq`, 0 without any, the database's time `at`, and how many are undelivered."""

    last_seq: int
    at: datetime
    undelivered: int


class DatabaseContents(NamedTuple):
    """Signals by status, when the oldest arrived, the rows of other tables, and the size on the disk."""

    signals: dict[str, int]
    oldest: datetime | None
    open_positions: int
    closed_positions: int
    events: int
    attempts: int
    refused_posts: int
    actions: int
    size_bytes: int


class ExportRow(NamedTuple):
    """A signal with its timeline; `events`, `deliveries` and `orders` are JSON lists, oldest first.

    `orders` is empty where the only order is at `default`: it follows from the signal.
    """

    seq: int
    id: UUID
    received_at: datetime
    status: str
    status_at: datetime
    type: str | None
    ticker: str
    price: Decimal | None
    reason: str
    sender_signal_id: str | None
    round: int
    attempts: int
    expires_at: datetime
    body: bytes
    source: str | None
    imported_at: datetime | None
    events: str
    deliveries: str
    orders: str


class ImportedSignal(NamedTuple):
    """A signal to insert as history, in the order of the statement's parameters."""

    id: UUID
    received_at: datetime
    status: str
    status_at: datetime
    type: str | None
    ticker: str
    price: Decimal | None
    reason: str
    sender_signal_id: str | None
    round: int
    attempts: int
    expires_at: datetime
    body: bytes
    source: str | None
    reason_code: str | None = None
    reason_params: dict[str, Any] | None = None


class ImportedEvent(NamedTuple):
    """A change of an imported signal, in the order of the statement's parameters."""

    signal_id: UUID
    at: datetime
    status: str
    reason: str
    detail: msgspec.Raw
    reason_code: str | None = None
    reason_params: dict[str, Any] | None = None


class ImportedAttempt(NamedTuple):
    """A delivery attempt of an imported signal, in the order of the statement's parameters."""

    signal_id: UUID
    round: int
    number: int
    destination: str
    webhook_id: str
    started_at: datetime
    ended_at: datetime
    outcome: str
    http_status: int | None
    error: str | None
    response: bytes | None
    sent_to: str


class ImportedOrder(NamedTuple):
    """An order of an imported signal at a destination, in the order of the statement's parameters."""

    signal_id: UUID
    destination: str
    round: int
    status: str
    attempts: int
    ended_at: datetime
    is_shared: bool


async def fetch_extent(database: Connection | Pool) -> Extent:
    """Return how far an export or a clearance that begins now goes."""
    return Extent(**await fetch_one(database, _SQL["extent"]))


async def fetch_contents(database: Connection | Pool) -> DatabaseContents:
    """Count the rows of all tables; reads each of them completely."""
    return DatabaseContents(**await fetch_one(database, _SQL["contents"]))


async def fetch_export_page(
    database: Pool | ReadingPool, *, after_seq: int, last_seq: int, limit: int, ended_by: datetime | None
) -> list[ExportRow]:
    """Return signals after one `seq`, up to another, in that order.

    With `ended_by` only those that had ended at that time.
    """
    rows = await database.fetch(_SQL["page"], after_seq, last_seq, limit, ended_by)
    return [ExportRow(**row) for row in rows]


async def delete_ended(database: Connection | Pool, *, last_seq: int, ended_by: datetime, limit: int) -> int:
    """Delete signals that had ended at `ended_by`, the oldest first; return how many.

    Signals that were tried within the last hour stay, as do those that another transaction has locked.
    """
    return affected_rows(await database.execute(_SQL["clear"], last_seq, ended_by, limit))


async def insert_signals(connection: Connection, signals: Sequence[ImportedSignal]) -> set[UUID]:
    """Insert the signals whose ids are new, and return these ids; the others stay as they are."""
    rows = await connection.fetch(_SQL["insert"], *_columns(signals, len(ImportedSignal._fields)))
    return {row["id"] for row in rows}


async def insert_events(connection: Connection, events: Sequence[ImportedEvent]) -> None:
    """Insert events in their order; in the transaction of their signals."""
    await connection.execute(_SQL["insert_events"], *_columns(events, len(ImportedEvent._fields)))


async def insert_attempts(connection: Connection, attempts: Sequence[ImportedAttempt]) -> None:
    """Insert attempts in their order; in the transaction of their signals. The rate limits ignore them."""
    await connection.execute(_SQL["insert_attempts"], *_columns(attempts, len(ImportedAttempt._fields)))


async def insert_orders(
    connection: Connection, *, signals: Sequence[UUID], orders: Sequence[ImportedOrder]
) -> None:
    """Insert the orders of imported signals; in their transaction, after their events and attempts.

    The order of a signal without one among `orders` follows from the signal.
    """
    if orders:
        await connection.execute(_SQL["insert_named_orders"], *_columns(orders, len(ImportedOrder._fields)))
    named = {order.signal_id for order in orders}
    await connection.execute(_SQL["insert_orders"], [each for each in signals if each not in named])


def _columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    return [[row[column] for row in rows] for column in range(width)]
