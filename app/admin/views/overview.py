"""The first view: alarms, the figures of the day, the current list, the newest signals."""

from typing import Any

from fastapi import Request

from app.admin import repository
from app.db.pool import Connection
from app.screener.current import current_top_n
from app.web.dependencies import context_of

_ROWS = 10


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the current list and the newest signals; the page header has the figures."""
    listed = await repository.fetch_signals(
        connection, limit=_ROWS, before_seq=None, status=None, ticker=None, source=None
    )
    return {
        "top_n": await current_top_n(context_of(request), connection),
        "newest": listed.signals,
    }
