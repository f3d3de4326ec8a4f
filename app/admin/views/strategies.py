"""The current list with its ranks, the engine that refreshes it, and all strategies."""

from typing import Any

import msgspec
from fastapi import Request

from app.admin.fields import Field, fields_of
from app.admin.routes import strategies as api
from app.admin.routes.configuration import sources_of
from app.config.model import FINVIZ_FILE, STRATEGY_NEEDS, Strategy, merge
from app.db.pool import Connection
from app.positions import repository as positions
from app.screener.current import current_top_n
from app.settings import Settings
from app.signals.refusals import RefusalCode
from app.web.dependencies import context_of

_BLANK = "blank"


async def read(request: Request, connection: Connection) -> dict[str, Any]:
    """Return the current list, the tickers with open positions, and each strategy with its fields."""
    context = context_of(request)
    listed = await api.strategies(request)
    top_n = await current_top_n(context, connection)
    return {
        "top_n": top_n,
        "on_probation": top_n.failure is not None and top_n.failure.code is RefusalCode.PROBATION,
        "engine_paused": context.config.system.engine_paused,
        "held": {position.ticker for position in await positions.open_positions(connection)},
        "active": listed.active,
        "problem": context.config_problems.get(FINVIZ_FILE),
        "strategies": [
            (each.values.name, fields_of(Strategy, each.values.model_dump(), each.sources, STRATEGY_NEEDS))
            for each in listed.strategies
        ],
        "blank": _blank(context.settings),
    }


def _blank(settings: Settings) -> list[Field]:
    """Return the fields of a new strategy: the required ones are empty, the others show their defaults."""
    config = merge({FINVIZ_FILE: {"strategies": [{"name": _BLANK, "url": "list:A"}]}}, settings)
    values: dict[str, Any] = {**msgspec.to_builtins(config.finviz.active_strategy), "name": "", "url": ""}
    return fields_of(Strategy, values, sources_of(config, f"finviz.strategies.{_BLANK}"), STRATEGY_NEEDS)
