"""Routes for refused posts, orders, statistics, audit trail and actions log."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, TypeAdapter

from app.admin import repository
from app.admin.repository import ActionRow
from app.admin.schemas import AuditPage, Hour, OrderPage, OrderStats, RefusedPage
from app.db.pool import Connection
from app.db.reading import ReadingPool
from app.transfer import spreadsheet
from app.web.dependencies import REFUSALS, Cursor, Limit, Reading, Ticker, context_of, signed_in
from app.web.faults import ACTION_PATTERN
from app.web.routing import new_router

_EXPORT_PAGE_ROWS = 500
_CSV_COLUMNS = ActionRow._fields.index("result_code")  # those before it
CSV_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "CSV"}
}

router = new_router(prefix="/admin", tags=["records"], responses=REFUSALS, dependencies=[signed_in])

Hours = Annotated[int, Query(ge=1, le=744, description="How many hours back, the current one included")]


class ActionEntry(BaseModel):
    """A change that was made or tried. `session` is `token` for a bearer token, `file` for an edited file.

    `actor` is the name of the token, `admin` for ADMIN_TOKEN; null for an edited file, or before names.
    `before` and `after` are the differing values, secrets masked. `result` is `done` or the refusal's reason.
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
    actor: str | None
    result_code: str | None = Field(default=None, exclude=True)
    result_params: dict[str, Any] | None = Field(default=None, exclude=True)


class ActionsPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    actions: list[ActionEntry]
    next_cursor: int | None


_HOURS = TypeAdapter(list[Hour])


@router.get("/refused")
async def refused(connection: Reading, limit: Limit = 50, cursor: Cursor = None) -> RefusedPage:
    """The last 1,000 refused posts. Posts with a wrong secret are counted, not stored."""
    return await repository.fetch_refused_posts(connection, before_id=cursor, limit=limit)


@router.get("/audit-trail")
async def audit_trail(
    connection: Reading, limit: Limit = 50, cursor: Cursor = None, ticker: Ticker | None = None
) -> AuditPage:
    """Every change of every signal."""
    return await repository.fetch_audit_trail(connection, before_id=cursor, limit=limit, ticker=ticker)


@router.get("/orders")
async def orders(
    connection: Reading,
    limit: Limit = 50,
    cursor: Cursor = None,
    ticker: Ticker | None = None,
    status: Literal["approved", "forwarding", "forwarded", "failed", "expired"] | None = None,
) -> OrderPage:
    """Every approved signal: sent, pending, or expired before delivery."""
    return await repository.fetch_orders(
        connection, before_seq=cursor, limit=limit, ticker=ticker, status=status
    )


@router.get("/orders/stats")
async def order_stats(request: Request, hours: Hours = 24) -> list[OrderStats]:
    """The orders of the last hours, by type."""

    async def read(connection: Connection) -> list[OrderStats]:
        return await repository.fetch_order_stats(connection, hours=hours)

    return await context_of(request).reading.compute(("order_stats", hours), read)


@router.get("/signals-history", response_model=list[Hour])
async def signals_history(request: Request, hours: Hours = 24) -> Response:
    """Signals per hour by status, oldest first, and how long deliveries took."""

    async def read(connection: Connection) -> bytes:
        # serialised once for all requests that share the result
        return _HOURS.dump_json(await repository.fetch_hourly_counts(connection, hours=hours))

    content = await context_of(request).reading.compute(("signals_history", hours), read)
    return Response(content, media_type="application/json")


@router.get("/actions-log")
async def actions_log(
    connection: Reading,
    limit: Limit = 50,
    cursor: Cursor = None,
    action: Annotated[
        str | None,
        Query(pattern=ACTION_PATTERN, description="Prefix of the action, such as `order.` or `webhook`"),
    ] = None,
    result: Literal["done", "refused"] | None = None,
) -> ActionsPage:
    """Changes that people made or tried: who, from where, what, with which result."""
    is_done = None if result is None else result == "done"
    rows = await repository.fetch_actions(
        connection, before_id=cursor, limit=limit + 1, prefix=action, is_done=is_done
    )
    found = [
        ActionEntry(**{**row._asdict(), "before": _decoded(row.before), "after": _decoded(row.after)})
        for row in rows[:limit]
    ]
    return ActionsPage(actions=found, next_cursor=found[-1].id if len(rows) > limit else None)


@router.get(
    "/actions-log/export",
    response_class=StreamingResponse,
    responses=CSV_RESPONSE,
)
async def export_actions_log(request: Request) -> StreamingResponse:
    """The whole actions log as CSV, newest first. A spreadsheet reads no cell as a formula."""
    pool = context_of(request).reading
    newest = await _actions_before(
        pool, None
    )  # before the response begins, so that a failure is answered with its status
    return attachment("actions-log", _action_lines(pool, newest))


def attachment(name: str, content: AsyncIterator[bytes]) -> StreamingResponse:
    """Return a response that streams a CSV file as an attachment."""
    file = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    return StreamingResponse(content, media_type="text/csv; charset=utf-8", headers=headers)


async def _actions_before(pool: ReadingPool, cursor: int | None) -> list[ActionRow]:
    # in pages: a long transaction would keep PostgreSQL from removing dead rows
    return await repository.fetch_actions(pool, before_id=cursor, limit=_EXPORT_PAGE_ROWS)


async def _action_lines(pool: ReadingPool, rows: list[ActionRow]) -> AsyncIterator[bytes]:
    """Yield the CSV file: the header, the newest page, then all older ones."""
    yield spreadsheet.SIGNATURE + spreadsheet.lines([ActionRow._fields[:_CSV_COLUMNS]])
    while rows:
        yield spreadsheet.lines([cell if cell != "" else None for cell in row[:_CSV_COLUMNS]] for row in rows)
        rows = await _actions_before(pool, rows[-1].id)


def _decoded(document: str | None) -> object:
    return None if document is None else json.loads(document)
