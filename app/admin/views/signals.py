"""All signals, newest first, in pages and with filters."""

from typing import Any

from fastapi import Request

from app.admin import repository
from app.admin.filters import STATUSES, Listing, chosen, cursor_of, ticker_of
from app.config.access import DEFAULT_SOURCE, SOURCE_LENGTH
from app.config.model import Config
from app.db.pool import Connection
from app.web.dependencies import context_of

PATH = "/admin/page/signals"
_ROWS = 50


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the requested page of the list."""
    query = request.query_params
    status, ticker, cursor = chosen(query, "status", STATUSES), ticker_of(query), cursor_of(query)
    source = query.get("source", "").replace("\0", "")[:SOURCE_LENGTH].strip() or None
    return {
        "wanted": Listing(PATH, {"status": status, "ticker": ticker, "source": source}, cursor),
        "listed": await repository.fetch_signals(
            connection, limit=_ROWS, before_seq=cursor, status=status, ticker=ticker, source=source
        ),
        "statuses": STATUSES,
        "sources": source_names(context_of(request).config),
    }


def source_names(config: Config) -> list[str]:
    """Return the sources that a list can be filtered by; only `default` where no other is configured."""
    return [DEFAULT_SOURCE, *(each.name for each in config.alert_sources if each.name != DEFAULT_SOURCE)]
