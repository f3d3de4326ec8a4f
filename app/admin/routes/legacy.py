"""Admin calls of the replaced system, only with LEGACY_API. The routes of today answer them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, Request
from pydantic import BaseModel

from app.admin.routes import signals, strategies
from app.admin.routes.configuration import CHANGE_REFUSALS
from app.admin.routes.strategies import Strategies, StrategyValues
from app.admin.snapshot import Overview
from app.errors import ConflictError
from app.positions import repository as positions_repository
from app.positions import routes as positions
from app.positions.manual_orders import OrdersPlaced
from app.positions.routes import NOT_OPEN, ClosePosition
from app.signals.refusals import RefusalCode
from app.signals.tickers import fold
from app.web.dependencies import (
    REFUSALS,
    CurrentActor,
    Database,
    Reading,
    Storable,
    Store,
    TypedTicker,
    context_of,
    signed_in,
)
from app.web.problems import Problem
from app.web.routing import new_router

router = new_router(prefix="/admin", tags=["replaced system"], responses=REFUSALS, dependencies=[signed_in])

_NOT_THERE: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "No position in this ticker is open"}
}


class FlatStrategy(BaseModel):
    """The active strategy with the keys of the replaced system. A key left out is unchanged."""

    finviz_url: Annotated[str, Storable] | None = None
    top_n: int | None = None
    refresh_interval_sec: int | None = None
    reprocess_enabled: bool | None = None
    reprocess_window_seconds: int | None = None
    respect_sell_chronology_enabled: bool | None = None
    sell_chronology_window_seconds: int | None = None


class SellAllQueue(BaseModel):
    """The tickers with an open position: those that a sell-all sells."""

    tickers: list[str]
    count: int


class QueuedTicker(BaseModel):
    """A ticker that should be in the list of open positions."""

    ticker: TypedTicker | None = None


@router.get("/system-info", name="system_info")
async def system_info(request: Request) -> Overview:
    """Everything that `GET /admin/status` answers."""
    return await signals.status(request)


@router.post("/system-info", name="system_info_by_post")
async def system_info_by_post(request: Request) -> Overview:
    """Everything that `GET /admin/status` answers, for clients that send the token in a body."""
    return await signals.status(request)


@router.get("/finviz/config", name="flat_strategy")
async def flat_strategy(request: Request) -> FlatStrategy:
    """The active strategy; `GET /admin/finviz/strategies` lists all."""
    return _active(await strategies.strategies(request))


@router.post("/finviz/config", name="change_flat_strategy", responses=CHANGE_REFUSALS)
async def change_flat_strategy(
    request: Request, store: Store, actor: CurrentActor, offered: FlatStrategy
) -> FlatStrategy:
    """Change the active strategy, as `PUT /admin/finviz/strategies/{name}` does."""
    values = offered.model_dump(exclude_none=True)
    if "finviz_url" in values:
        values["url"] = values.pop("finviz_url")
    name = context_of(request).config.finviz.active_strategy.name
    return _active(
        await strategies.change_strategy(request, store, actor, name, StrategyValues.model_validate(values))
    )


@router.post("/orders/{order_id}/close", name="close_order", status_code=202, responses=NOT_OPEN)
async def close_order(
    request: Request, connection: Database, actor: CurrentActor, order_id: UUID
) -> OrdersPlaced:
    """Sell a position, as `POST /admin/order/close-position` does.

    `order_id` is the id of the position, or of the signal that opened it.
    """
    opened = await positions_repository.position_opened_by(connection, signal_id=order_id)
    return await positions.close_position(
        request, connection, actor, ClosePosition(position_id=opened or order_id)
    )


@router.get("/sell-all-queue", name="sell_all_queue")
async def sell_all_queue(connection: Reading) -> SellAllQueue:
    """The tickers with an open position; `GET /admin/positions` says more of each."""
    listed = [position.ticker for position in (await positions.positions(connection)).positions]
    return SellAllQueue(tickers=listed, count=len(listed))


@router.post("/sell-all-queue", name="queue_ticker", responses=_NOT_THERE)
async def queue_ticker(
    connection: Reading, queued: Annotated[QueuedTicker | None, Body()] = None
) -> SellAllQueue:
    """The tickers with an open position, if the ticker is one of them. Nothing is added."""
    answer = await sell_all_queue(connection)
    if queued and queued.ticker and fold(queued.ticker) not in answer.tickers:
        raise ConflictError(RefusalCode.NOT_ADDED, ticker=queued.ticker)
    return answer


def _active(listed: Strategies) -> FlatStrategy:
    values = next(each.values.model_dump() for each in listed.strategies if each.values.name == listed.active)
    return FlatStrategy(
        finviz_url=values["url"],
        **{key: values[key] for key in FlatStrategy.model_fields if key != "finviz_url"},
    )
