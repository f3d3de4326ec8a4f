"""Open positions with their pending orders, and all orders with their outcomes."""

from typing import Any, Literal, get_args

from fastapi import Request

from app.admin.filters import Listing, chosen, cursor_of, ticker_of
from app.admin.routes import records
from app.db.pool import Connection
from app.positions import repository as positions
from app.web.dependencies import context_of

OrderStatus = Literal["approved", "forwarding", "forwarded", "failed", "expired"]

PATH = "/admin/page/positions"
_STATUSES: tuple[OrderStatus, ...] = get_args(OrderStatus)
_ROWS = 25


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the positions, the orders of 24 hours by type, and the requested page of orders."""
    query = request.query_params
    status, ticker, cursor = chosen(query, "status", _STATUSES), ticker_of(query), cursor_of(query)
    return {
        # what a person has to confirm or dismiss comes first
        "positions": sorted(await positions.open_positions(connection), key=lambda each: each.confirmed),
        "destinations": [each.name for each in context_of(request).config.destinations],
        "stats": await records.order_stats(request),
        "listed": await records.orders(connection, limit=_ROWS, cursor=cursor, ticker=ticker, status=status),
        "wanted": Listing(PATH, {"status": status, "ticker": ticker}, cursor),
        "statuses": _STATUSES,
    }
