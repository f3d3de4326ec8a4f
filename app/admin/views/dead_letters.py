"""Dead letters (failed or expired signals) for a replay, and the state of the destination."""

from typing import Any, get_args

from fastapi import Request

from app.admin.filters import Listing, chosen, cursor_of, ticker_of
from app.db.pool import Connection
from app.orders import replay
from app.orders.destination_state import circuit_reason, describe_destination
from app.orders.repository import DeadStatus
from app.web.dependencies import context_of

PATH = "/admin/page/dead-letters"
_STATUSES: tuple[DeadStatus, ...] = get_args(DeadStatus)
_ROWS = 50


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the destination's state, and the requested page of dead letters."""
    query, context = request.query_params, context_of(request)
    status, ticker, cursor = chosen(query, "status", _STATUSES), ticker_of(query), cursor_of(query)
    return {
        "destination": describe_destination(context),
        "failing": await circuit_reason(context, connection),
        "listed": await replay.page(connection, limit=_ROWS, cursor=cursor, status=status, ticker=ticker),
        "wanted": Listing(PATH, {"status": status, "ticker": ticker}, cursor),
        "statuses": _STATUSES,
        "most_at_once": replay.MOST_AT_ONCE,
    }
