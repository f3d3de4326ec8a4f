"""The first view: first steps, figures of the day, limits, open positions, list, newest signals."""

from decimal import Decimal
from typing import Any, NamedTuple

from fastapi import Request

from app.admin import repository
from app.admin.rendering import NOTHING, number
from app.context import AppContext
from app.db.pool import Connection
from app.orders.destination import Window, destination_of
from app.orders.destination_state import describe_destination
from app.orders.destinations_repository import read_ledger
from app.positions import repository as positions
from app.screener.current import current_top_n
from app.signals.selection import SignalFilter
from app.web.dependencies import context_of

_ROWS = 10
_POSITIONS = 5
_MINUTE, _HOUR = 60, 3600
# as in docs/tradingview.md, where a test posts them
TEMPLATES = {
    "strategy": """{
  "ticker": "{{ticker}}",
  "action": "{{strategy.order.action}}",
  "sentiment": "{{strategy.market_position}}",
  "quantity": "{{strategy.order.contracts}}",
  "price": "{{strategy.order.price}}",
  "time": "{{timenow}}"
}""",
    "entry": '{"ticker": "{{ticker}}", "action": "buy", "price": "{{close}}", "time": "{{timenow}}"}',
    "exit": '{"ticker": "{{ticker}}", "action": "exit", "price": "{{close}}", "time": "{{timenow}}"}',
}


class Usage(NamedTuple):
    """Requests to a destination that count now, and the most that are allowed."""

    destination: str
    used: int
    most: int


class Limit(NamedTuple):
    """A rate limit, by destination."""

    name: str
    usage: list[Usage]


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the view's values; the page header has the figures of the day."""
    context = context_of(request)
    listed = await repository.fetch_signals(connection, wanted=SignalFilter(), before_seq=None, limit=_ROWS)
    described = [describe_destination(context, each.name) for each in context.config.destinations]
    delivery = await context.reading.compute(("delivery_figures",), repository.fetch_delivery_figures)
    return {
        "top_n": await current_top_n(context, connection),
        "newest": listed.signals,
        "positions": sorted(await positions.open_positions(connection), key=lambda each: each.confirmed),
        "most_positions": _POSITIONS,
        "limits": await _limits(context, connection),
        "destinations": len(described),
        "delivery": delivery,
        "success": _percent(delivery.delivered, delivery.ended),
        "live_origins": [each["origin"] for each in described if each["kind"] == "live"],
        "may_operate": request.state.access.may_operate,
        "has_secret": bool(context.settings.webhook_secret),
        "webhook_url": f"{request.url.scheme}://{request.url.netloc}/webhook/in",
        "templates": TEMPLATES,
    }


async def _limits(context: AppContext, connection: Connection) -> list[Limit]:
    limits = [Limit("minute", []), Limit("hour", [])]
    for each in context.config.destinations:
        if not each.rate_limiting_enabled:
            continue
        windows = (Window(each.max_req_per_min, _MINUTE), Window(each.max_req_per_hour, _HOUR))
        key = destination_of(each.url, each.name).key
        ledger = await read_ledger(connection, destination=key, windows=windows)
        for limit, window, used in zip(limits, windows, ledger.usage, strict=True):
            limit.usage.append(Usage(each.name, ledger.open_attempts + used.ended, window.limit))
    return [limit for limit in limits if limit.usage]


def _percent(part: int, whole: int) -> str:
    """Format a share as `98 %`, rounded down, so that 100 % means all; a dash without any."""
    return f"{number(int(Decimal(100 * part) / whole))} %" if whole else NOTHING
