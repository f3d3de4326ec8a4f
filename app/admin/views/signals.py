"""Every signal, newest first, by pages and filters."""

from typing import Any

from fastapi import Request

from app.admin import reading
from app.admin.filters import STATUSES, Filter
from app.db.pool import Connection

_ROWS = 50


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """The page of the list that the address asks for."""
    wanted = Filter.of(request.query_params)
    listed = await reading.signal_page(
        connection, limit=_ROWS, cursor=wanted.cursor, status=wanted.status, ticker=wanted.ticker
    )
    return {"wanted": wanted, "listed": listed, "statuses": STATUSES}
