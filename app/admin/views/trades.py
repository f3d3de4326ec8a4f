"""Trades: closed positions, newest first, in pages and with filters, and their sums."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import Request

from app.admin.filters import Listing, ticker_of
from app.admin.routes.trades import trade_sums
from app.admin.views.signals import source_names
from app.config.access import SOURCE_LENGTH
from app.db.pool import Connection
from app.positions.trades_repository import CURSOR_PATTERN, TradeCursor, TradeFilter, fetch_trades
from app.web.dependencies import context_of

PATH = "/admin/page/trades"
_EXPORT = "/admin/trades/export"
_ROWS = 50
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the requested page of the trades, and the sums of all that the filter finds."""
    query = request.query_params
    first, last = day_of(query, "from"), day_of(query, "to")
    wanted = TradeFilter(ticker_of(query), _midnight(first), _midnight(last, days=1), _source_of(query))
    cursor = query.get("cursor", "")
    before = TradeCursor.parse(cursor) if re.fullmatch(CURSOR_PATTERN, cursor) else None
    return {
        "wanted": Listing(
            PATH,
            {"ticker": wanted.ticker, "from": first, "to": last, "source": wanted.source},
            str(before) if before else None,
        ),
        "listed": await fetch_trades(connection, wanted=wanted, before=before, limit=_ROWS),
        "sums": await trade_sums(request, wanted),
        "sources": source_names(context_of(request).config),
        "export": export_url(wanted),
    }


def day_of(query: Mapping[str, str], name: str) -> str | None:
    """Return the requested day as `2026-11-22`; None without a valid one."""
    day = query.get(name, "")
    return day if _DAY.fullmatch(day) and _midnight(day, days=1) else None


def export_url(wanted: TradeFilter) -> str:
    """Return the URL of the CSV file with the trades of a filter."""
    given = {
        "ticker": wanted.ticker,
        "from": wanted.start and _in_query(wanted.start),
        "to": wanted.end and _in_query(wanted.end),
        "source": wanted.source,
    }
    given = {name: value for name, value in given.items() if value}
    return f"{_EXPORT}?{urlencode(given)}" if given else _EXPORT


def _in_query(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _midnight(day: str | None, days: int = 0) -> datetime | None:
    """Return the beginning of a day in UTC, or of one that many days later; None if there is none."""
    if day is None:
        return None
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None


def _source_of(query: Mapping[str, str]) -> str | None:
    return query.get("source", "").replace("\0", "")[:SOURCE_LENGTH].strip() or None
