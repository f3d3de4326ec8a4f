"""All signals, newest first, in pages and with filters."""

from typing import Any

from fastapi import Request

from app.admin import repository
from app.admin.filters import STATUSES, Listing, chosen, cursor_of, ticker_of
from app.db.pool import Connection

PATH = "/admin/page/signals"
_ROWS = 50


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the requested page of the list."""
    query = request.query_params
    status, ticker, cursor = chosen(query, "status", STATUSES), ticker_of(query), cursor_of(query)
    return {
        "wanted": Listing(PATH, {"status": status, "ticker": ticker}, cursor),
        "listed": await repository.fetch_signals(
            connection, limit=_ROWS, before_seq=cursor, status=status, ticker=ticker
        ),
        "statuses": STATUSES,
    }
