"""Posts that were not taken, with the beginning of each."""

from typing import Any

from fastapi import Request

from app.admin import records
from app.admin.filters import Listing, cursor_of
from app.db.pool import Connection

PATH = "/admin/page/refused"
_ROWS = 50


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """The page of refused posts that the address asks for."""
    cursor = cursor_of(request.query_params)
    return {
        "listed": await records.refused(connection, limit=_ROWS, cursor=cursor),
        "wanted": Listing(PATH, {}, cursor),
    }
