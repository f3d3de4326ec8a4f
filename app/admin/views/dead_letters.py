"""Dead letters (failed or expired signals) for a replay, and the state of the destination."""

from typing import Any, get_args

from fastapi import Request

from app.admin.filters import OUTCOMES, SIDES, Listing, api_query, cursor_of, signals_wanted
from app.admin.views.signals import source_names
from app.db.pool import Connection
from app.orders import replay
from app.orders.dead_letters_repository import DeadStatus
from app.orders.destination_state import circuit_reasons, describe_destination
from app.web.dependencies import context_of

PATH = "/admin/page/dead-letters"
_STATUSES: tuple[DeadStatus, ...] = get_args(DeadStatus)
_ROWS = 50


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the destination's state, and the requested page of dead letters."""
    query, context = request.query_params, context_of(request)
    wanted, given = signals_wanted(query, _STATUSES, context.clock.now())
    cursor = cursor_of(query)
    failing = await circuit_reasons(context, connection)
    names = [each.name for each in context.config.destinations]
    return {
        "destinations": [(name, describe_destination(context, name), failing.get(name)) for name in names],
        "listed": await replay.page(connection, wanted=wanted, limit=_ROWS, cursor=cursor),
        "wanted": Listing(PATH, given, cursor),
        "chosen": api_query(wanted),
        "statuses": _STATUSES,
        "sides": SIDES,
        "outcomes": OUTCOMES,
        "sources": source_names(context.config),
        "most_at_once": replay.MOST_AT_ONCE,
    }
