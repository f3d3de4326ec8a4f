"""Open positions with their pending orders, and all orders with their outcomes."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from fastapi import Request

from app.admin.filters import Listing, chosen, cursor_of, text_of, ticker_of
from app.admin.routes import records
from app.db.pool import Connection
from app.positions import repository as positions
from app.positions.repository import Position
from app.web.dependencies import context_of

OrderStatus = Literal["approved", "forwarding", "forwarded", "failed", "expired"]

PATH = "/admin/page/positions"
_STATUSES: tuple[OrderStatus, ...] = get_args(OrderStatus)
_ROWS = 25
_LONGEST_NAME = 40


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the requested positions, the orders of 24 hours by type, and the requested page of orders."""
    query = request.query_params
    open_ones = await positions.open_positions(connection)
    narrowed = Listing(
        PATH,
        {
            "destination": text_of(query, "destination", _LONGEST_NAME),
            "confirmed": chosen(query, "confirmed", ("no",)),
        },
        None,
    )
    status, ticker, cursor = chosen(query, "status", _STATUSES), ticker_of(query), cursor_of(query)
    return {
        # what a person has to confirm or dismiss comes first
        "positions": sorted(_wanted(open_ones, narrowed), key=lambda each: each.confirmed),
        "open": len(open_ones),
        "narrowed": narrowed,
        "destinations": [each.name for each in context_of(request).config.destinations],
        "stats": await records.order_stats(request),
        "listed": await records.orders(connection, limit=_ROWS, cursor=cursor, ticker=ticker, status=status),
        "wanted": Listing(PATH, {"status": status, "ticker": ticker}, cursor),
        "statuses": _STATUSES,
    }


def _wanted(found: Sequence[Position], narrowed: Listing) -> list[Position]:
    destination, confirmed = narrowed.narrowing["destination"], narrowed.narrowing["confirmed"]
    return [
        each
        for each in found
        if (destination is None or each.destination == destination)
        and (confirmed is None or not each.confirmed)
    ]
