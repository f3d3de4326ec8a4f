"""Posts that were refused, with the beginning of each, and the count of those that are not kept."""

from typing import Any

from fastapi import Request

from app.admin import overview, records
from app.admin.door import runtime_of
from app.admin.filters import Listing, cursor_of
from app.db.pool import Connection

PATH = "/admin/page/refused"
_ROWS = 50


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """The page of refused posts that the address asks for."""
    cursor = cursor_of(request.query_params)
    return {
        "listed": await records.refused(connection, limit=_ROWS, cursor=cursor),
        "denied": overview.denied(runtime_of(request).denials),
        "wanted": Listing(PATH, {}, cursor),
    }
