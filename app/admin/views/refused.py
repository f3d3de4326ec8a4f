"""Refused posts with the beginning of each, and the number of denied requests, which are not stored."""

from typing import Any

from fastapi import Request

from app.admin import snapshot
from app.admin.filters import Listing, cursor_of
from app.admin.routes import records
from app.db.pool import Connection
from app.web.dependencies import context_of

PATH = "/admin/page/refused"
_ROWS = 50


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the requested page of refused posts."""
    cursor = cursor_of(request.query_params)
    return {
        "listed": await records.refused(connection, limit=_ROWS, cursor=cursor),
        "denied": snapshot.denied(context_of(request).denials),
        "wanted": Listing(PATH, {}, cursor),
    }
