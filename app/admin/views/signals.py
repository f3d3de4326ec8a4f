"""All signals, newest first, in pages and with filters."""

from typing import Any
from urllib.parse import urlencode

from fastapi import Request

from app.admin import repository
from app.admin.filters import OUTCOMES, SIDES, STATUSES, Listing, api_query, cursor_of, signals_wanted
from app.config.access import DEFAULT_SOURCE
from app.config.model import Config
from app.db.pool import Connection
from app.web.dependencies import context_of

PATH = "/admin/page/signals"
_EXPORT = "/admin/signals/export"
_ROWS = 50


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the requested page of the list."""
    query, context = request.query_params, context_of(request)
    wanted, given = signals_wanted(query, STATUSES, context.clock.now())
    cursor = cursor_of(query)
    return {
        "wanted": Listing(PATH, given, cursor),
        "listed": await repository.fetch_signals(connection, wanted=wanted, before_seq=cursor, limit=_ROWS),
        "statuses": STATUSES,
        "sides": SIDES,
        "outcomes": OUTCOMES,
        "sources": source_names(context.config),
        "export": f"{_EXPORT}?{urlencode(api_query(wanted))}",
    }


def source_names(config: Config) -> list[str]:
    """Return the sources that a list can be filtered by; only `default` where no other is configured."""
    return [DEFAULT_SOURCE, *(each.name for each in config.alert_sources if each.name != DEFAULT_SOURCE)]
