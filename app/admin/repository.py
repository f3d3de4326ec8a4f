"""The statements of `queries.sql` as typed functions: what the admin page and its API read."""

from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from app.db.pool import Connection
from app.db.queries import fetch_one, load
from app.db.reading import ReadingPool

_SQL = load("app.admin")


class SignalRow(NamedTuple):
    """A signal without its body."""

    id: UUID
    seq: int
    status: str
    type: str | None
    ticker: str
    price: Decimal | None
    reason: str
    sender_signal_id: str | None
    received_at: datetime
    status_at: datetime
    expires_at: datetime
    attempts: int
    round: int


class SignalWithBody(NamedTuple):
    """A signal and the alert as it was received, without its secret."""

    signal: SignalRow
    body: bytes


class EventRow(NamedTuple):
    """A change of a signal."""

    at: datetime
    status: str
    reason: str
    detail: dict[str, Any]


class AttemptRow(NamedTuple):
    """A delivery attempt; `ended_at` is None while it is open."""

    round: int
    number: int
    destination: str
    webhook_id: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    http_status: int | None
    error: str | None
    response: bytes | None


class DayCounts(NamedTuple):
    """Signals of the last 24 hours by status; `approved` counts all that passed the rule."""

    received: int
    rejected: int
    forwarded: int
    failed: int
    expired: int
    approved: int


class QueueCounts(NamedTuple):
    """Signals in both queues; `oldest_seconds` is None when both are empty."""

    processing: int
    approved: int
    oldest_seconds: float | None


class EventWindow(NamedTuple):
    """The ids of the newest and oldest of the last 500 events, and their number; 0 without any."""

    newest: int
    window_start: int
    window_size: int


class OpenPositions(NamedTuple):
    """How many positions are open, with how many buys; `newest` is when the latest was opened."""

    open: int
    buys: int
    newest: datetime | None


class RefusedPostRow(NamedTuple):
    """A refused post; `head` is its beginning, `size` its bytes."""

    id: int
    at: datetime
    status: int
    reason: str
    client: str
    size: int
    head: bytes


class AuditRow(NamedTuple):
    """A change of a signal, with the signal's ticker and type."""

    id: int
    at: datetime
    signal_id: UUID
    ticker: str
    type: str | None
    status: str
    reason: str
    detail: dict[str, Any]


class OrderRow(NamedTuple):
    """An approved signal and its last attempt; the attempt's fields are None before the first."""

    id: UUID
    seq: int
    status: str
    type: str | None
    ticker: str
    price: Decimal | None
    reason: str
    received_at: datetime
    status_at: datetime
    attempts: int
    round: int
    destination: str | None
    outcome: str | None
    http_status: int | None
    ended_at: datetime | None


class TypeCounts(NamedTuple):
    """Orders of one type by status, and the seconds from arrival to delivery; None without a delivery."""

    type: str | None
    orders: int
    waiting: int
    forwarded: int
    failed: int
    expired: int
    median_seconds: float | None
    p95_seconds: float | None


class HourCounts(NamedTuple):
    """Signals that arrived in one hour (UTC) by status, and the seconds from arrival to delivery."""

    hour: datetime
    received: int
    approved: int
    rejected: int
    forwarded: int
    failed: int
    expired: int
    median_seconds: float | None
    p95_seconds: float | None


class ActionRow(NamedTuple):
    """An entry of the actions log; `before` and `after` are JSON."""

    id: int
    at: datetime
    session: str
    origin: str
    action: str
    target: str
    before: str | None
    after: str | None
    result: str


async def fetch_signals(
    connection: Connection, *, before_seq: int | None, status: str | None, ticker: str | None, limit: int
) -> list[SignalRow]:
    """Return signals, newest first; None leaves a filter out."""
    rows = await connection.fetch(_SQL["signals"], before_seq, status, ticker, limit)
    return [SignalRow(**row) for row in rows]


async def fetch_signal(connection: Connection, *, signal_id: UUID) -> SignalWithBody | None:
    """Return one signal; None if there is none with this id."""
    row = await connection.fetchrow(_SQL["signal"], signal_id)
    if row is None:
        return None
    *columns, body = row
    return SignalWithBody(SignalRow(*columns), body)


async def fetch_events(connection: Connection, *, signal_id: UUID) -> list[EventRow]:
    """Return the signal's events, oldest first."""
    return [EventRow(**row) for row in await connection.fetch(_SQL["events"], signal_id)]


async def fetch_attempts(connection: Connection, *, signal_id: UUID) -> list[AttemptRow]:
    """Return the signal's delivery attempts, oldest first."""
    return [AttemptRow(**row) for row in await connection.fetch(_SQL["attempts"], signal_id)]


async def fetch_day_counts(connection: Connection) -> DayCounts:
    """Count the signals of the last 24 hours."""
    return DayCounts(**await fetch_one(connection, _SQL["counts"]))


async def fetch_queue_counts(connection: Connection) -> QueueCounts:
    """Count the signals that wait for a decision and for delivery."""
    return QueueCounts(**await fetch_one(connection, _SQL["waiting"]))


async def fetch_event_window(connection: Connection) -> EventWindow:
    """Return what differs after any change of any signal."""
    return EventWindow(**await fetch_one(connection, _SQL["changes"]))


async def fetch_open_positions(connection: Connection) -> OpenPositions:
    """Count the open positions."""
    return OpenPositions(**await fetch_one(connection, _SQL["positions"]))


async def fetch_refused_posts(
    connection: Connection, *, before_id: int | None, limit: int
) -> list[RefusedPostRow]:
    """Return refused posts, newest first."""
    rows = await connection.fetch(_SQL["refused"], before_id, limit)
    return [RefusedPostRow(**row) for row in rows]


async def fetch_audit_trail(connection: Connection, *, before_id: int | None, limit: int) -> list[AuditRow]:
    """Return changes of all signals, newest first."""
    rows = await connection.fetch(_SQL["audit"], before_id, limit)
    return [AuditRow(**row) for row in rows]


async def fetch_audit_trail_of_ticker(
    connection: Connection, *, before_id: int | None, limit: int, ticker: str
) -> list[AuditRow]:
    """Return changes of a ticker's signals, newest first."""
    rows = await connection.fetch(_SQL["audit_of_ticker"], before_id, limit, ticker)
    return [AuditRow(**row) for row in rows]


async def fetch_orders(
    connection: Connection, *, before_seq: int | None, limit: int, ticker: str | None, status: str | None
) -> list[OrderRow]:
    """Return approved signals with their last attempt, newest first; None leaves a filter out."""
    rows = await connection.fetch(_SQL["orders"], before_seq, limit, ticker, status)
    return [OrderRow(**row) for row in rows]


async def fetch_order_stats(connection: Connection, *, hours: int) -> list[TypeCounts]:
    """Count the orders of the last hours by type."""
    return [TypeCounts(**row) for row in await connection.fetch(_SQL["order_stats"], hours)]


async def fetch_hourly_counts(connection: Connection, *, hours: int) -> list[HourCounts]:
    """Count the signals of the last hours, this one included, by hour, oldest first."""
    return [HourCounts(**row) for row in await connection.fetch(_SQL["history"], hours)]


async def fetch_actions(
    database: Connection | ReadingPool,
    *,
    before_id: int | None,
    limit: int,
    prefix: str | None = None,
    is_done: bool | None = None,
) -> list[ActionRow]:
    """Return entries of the actions log, newest first; None leaves a filter out.

    `prefix` is how the action begins. `is_done` selects actions that were done, or else refused ones.
    """
    rows = await database.fetch(_SQL["actions"], before_id, limit, prefix, is_done)
    return [ActionRow(**row) for row in rows]
