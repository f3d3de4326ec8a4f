"""Lists and counts beside the signals: refused posts, orders, audit trail, actions log (SPEC §14)."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, TypeAdapter

from app.admin.schemas import Outcome, SignalType, Status
from app.admin.timeline import readable
from app.db.pool import Connection
from app.db.queries import load
from app.db.reading import ReadingPool
from app.transfer import spreadsheet
from app.web.dependencies import REFUSALS, Reading, Ticker, context_of, signed_in

_SQL = load("app.admin")
_EXPORT_ROWS = 500
_ACTION_COLUMNS = ("id", "at", "session", "origin", "action", "target", "before", "after", "result")

router = APIRouter(prefix="/admin", tags=["records"], responses=REFUSALS, dependencies=[signed_in])

Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next_cursor` of the page before")]
Hours = Annotated[int, Query(ge=1, le=744, description="how far back, this hour included")]


class RefusedPost(BaseModel):
    """A post that was not taken. `head` is its first 2 KB, the secret removed; `size` in bytes."""

    id: int
    at: datetime
    status: int
    reason: str
    client: str
    size: int
    head: str


class RefusedPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    posts: list[RefusedPost]
    next_cursor: int | None


class AuditEntry(BaseModel):
    """One change of one signal."""

    id: int
    at: datetime
    signal_id: UUID
    ticker: str
    type: SignalType | None
    status: str
    reason: str
    detail: dict[str, Any]


class AuditPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    entries: list[AuditEntry]
    next_cursor: int | None


class DeliveryOrder(BaseModel):
    """An approved signal (sent, pending, or expired before delivery) and its last attempt.

    The attempt's fields are null before the first.
    """

    id: UUID
    seq: int
    status: Status
    type: SignalType | None
    ticker: str
    price: Decimal | None
    reason: str
    received_at: datetime
    status_at: datetime
    attempts: int
    round: int
    destination: str | None
    outcome: Outcome | None
    http_status: int | None
    ended_at: datetime | None


class OrderPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    orders: list[DeliveryOrder]
    next_cursor: int | None


class OrderStats(BaseModel):
    """Orders of one type by what became of them; seconds from arrival to delivery, null without any."""

    type: SignalType | None
    orders: int
    waiting: int
    forwarded: int
    failed: int
    expired: int
    median_seconds: float | None
    p95_seconds: float | None


class Hour(BaseModel):
    """The signals that arrived in the hour from `hour` on, by what became of them; seconds until delivery.

    `approved` counts those that wait for delivery, were sent, failed, or expired after their approval.
    """

    hour: datetime
    received: int
    approved: int
    rejected: int
    forwarded: int
    failed: int
    expired: int
    median_seconds: float | None
    p95_seconds: float | None


class ActionEntry(BaseModel):
    """A change that a person made. `session` is `token` for a bearer, `file` for an edited file.

    `before` and `after` hold what differs, secrets masked; `result` is `done` or says why it was refused.
    """

    id: int
    at: datetime
    session: str
    origin: str
    action: str
    target: str
    before: Any
    after: Any
    result: str


class ActionsPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    actions: list[ActionEntry]
    next_cursor: int | None


_HOURS = TypeAdapter(list[Hour])


@router.get("/refused")
async def refused(connection: Reading, limit: Limit = 50, cursor: Cursor = None) -> RefusedPage:
    """The last 1,000 posts that were not taken, but for those with a wrong secret."""
    rows = await connection.fetch(_SQL["refused"], cursor, limit + 1)
    posts = [RefusedPost(**{**row, "head": readable(row["head"])}) for row in rows[:limit]]
    return RefusedPage(posts=posts, next_cursor=posts[-1].id if len(rows) > limit else None)


@router.get("/audit-trail")
async def audit_trail(
    connection: Reading, limit: Limit = 50, cursor: Cursor = None, ticker: Ticker | None = None
) -> AuditPage:
    """Every change of every signal."""
    if ticker is None:
        rows = await connection.fetch(_SQL["audit"], cursor, limit + 1)
    else:
        rows = await connection.fetch(_SQL["audit_of_ticker"], cursor, limit + 1, ticker)
    entries = [AuditEntry(**row) for row in rows[:limit]]
    return AuditPage(entries=entries, next_cursor=entries[-1].id if len(rows) > limit else None)


@router.get("/orders")
async def orders(
    connection: Reading,
    limit: Limit = 50,
    cursor: Cursor = None,
    ticker: Ticker | None = None,
    status: Literal["approved", "forwarding", "forwarded", "failed", "expired"] | None = None,
) -> OrderPage:
    """Every approved signal: sent, pending, or expired before delivery."""
    rows = await connection.fetch(_SQL["orders"], cursor, limit + 1, ticker, status)
    found = [DeliveryOrder(**row) for row in rows[:limit]]
    return OrderPage(orders=found, next_cursor=found[-1].seq if len(rows) > limit else None)


@router.get("/orders/stats")
async def order_stats(request: Request, hours: Hours = 24) -> list[OrderStats]:
    """The orders of the last hours, by type."""

    async def read(connection: Connection) -> list[OrderStats]:
        return [OrderStats(**row) for row in await connection.fetch(_SQL["order_stats"], hours)]

    return await context_of(request).reading.compute(("order_stats", hours), read)


@router.get("/signals-history", response_model=list[Hour])
async def signals_history(request: Request, hours: Hours = 24) -> Response:
    """Signals per hour, oldest first: what became of them and how long deliveries took."""

    async def read(connection: Connection) -> bytes:
        rows = await connection.fetch(_SQL["history"], hours)
        return _HOURS.dump_json([Hour(**row) for row in rows])  # once for all who share it

    content = await context_of(request).reading.compute(("signals_history", hours), read)
    return Response(content, media_type="application/json")


@router.get("/actions-log")
async def actions_log(
    connection: Reading,
    limit: Limit = 50,
    cursor: Cursor = None,
    action: Annotated[
        str | None, Query(pattern=r"^[a-z.-]{1,40}$", description="how it begins, as `order.` or `webhook`")
    ] = None,
    result: Literal["done", "refused"] | None = None,
) -> ActionsPage:
    """Who changed what, from where, with which result."""
    done = None if result is None else result == "done"
    rows = await connection.fetch(_SQL["actions"], cursor, limit + 1, action, done)
    found = [
        ActionEntry(**{**row, "before": _decoded(row["before"]), "after": _decoded(row["after"])})
        for row in rows[:limit]
    ]
    return ActionsPage(actions=found, next_cursor=found[-1].id if len(rows) > limit else None)


@router.get(
    "/actions-log/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "CSV"}},
)
async def export_actions_log(request: Request) -> StreamingResponse:
    """The whole actions log as CSV, newest first; no cell can be taken for a formula."""
    pool = context_of(request).reading
    newest = await _actions_before(pool, None)  # before the answer begins: a failure gets a status
    return attachment("actions-log", _action_lines(pool, newest))


def attachment(name: str, content: AsyncIterator[bytes]) -> StreamingResponse:
    """Answer with a CSV file that is made while it is sent."""
    file = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    return StreamingResponse(content, media_type="text/csv; charset=utf-8", headers=headers)


async def _actions_before(pool: ReadingPool, cursor: int | None) -> list[asyncpg.Record]:
    # a page at a time: a long transaction would hold up everything that is cleaned behind it
    return await pool.fetch(_SQL["actions"], cursor, _EXPORT_ROWS, None, None)


async def _action_lines(pool: ReadingPool, rows: list[asyncpg.Record]) -> AsyncIterator[bytes]:
    """Make the file from the newest page and all older ones."""
    yield spreadsheet.SIGNATURE + spreadsheet.lines([_ACTION_COLUMNS])
    while rows:
        yield spreadsheet.lines([cell if cell != "" else None for cell in row] for row in rows)
        rows = await _actions_before(pool, rows[-1]["id"])


def _decoded(document: str | None) -> object:
    return None if document is None else json.loads(document)
