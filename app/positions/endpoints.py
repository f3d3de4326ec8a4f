"""Open positions, and what a person orders of them (SPEC §11, §14). The guard has asked for the token."""

from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from app import actions
from app.admin.door import REFUSALS, Acting, Database, Reading, runtime_of, signed_in
from app.admin.schemas import Problem
from app.positions import orders
from app.positions.orders import Closed, OrdersPlaced

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/admin", tags=["positions"], responses=REFUSALS, dependencies=[signed_in])

_NOT_OPEN: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "No such position"},
    409: {"model": Problem, "description": "The position is closed already"},
}


def _trimmed_upper(ticker: object) -> object:
    return ticker.strip().upper() if isinstance(ticker, str) else ticker


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL cannot be stored")
    return text


class SellIndividual(BaseModel):
    """A sell of any ticker; case and blanks at the ends do not count."""

    ticker: Annotated[str, BeforeValidator(_trimmed_upper), Field(pattern=r"^[A-Z0-9.-]{1,20}$")]


class ClosePosition(BaseModel):
    """Which position to sell."""

    position_id: UUID


class MarkClosed(BaseModel):
    """Which position was closed elsewhere, and how the person knows."""

    position_id: UUID
    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
        AfterValidator(_storable),
    ]


class OpenPositions(BaseModel):
    """Every open position, by ticker."""

    positions: list[orders.Position]


@router.get("/positions")
async def positions(connection: Reading) -> OpenPositions:
    """Every open position, with what is on its way for it."""
    return OpenPositions(positions=await orders.open_positions(connection))


@router.post("/order/sell-individual", status_code=202)
async def sell_individual(
    request: Request, connection: Database, actor: Acting, wish: SellIndividual
) -> OrdersPlaced:
    """Sell a ticker, with a position or without; an order given before that is on its way stands for it."""
    async with connection.transaction():
        ordered = await orders.sell(connection, wish.ticker, _max_age(request))
        await actions.record(
            connection, actor, "order.sell-individual", target=wish.ticker, after=_summary(ordered)
        )
    return _told(request, ordered)


@router.post("/order/close-position", status_code=202, responses=_NOT_OPEN)
async def close_position(
    request: Request, connection: Database, actor: Acting, wish: ClosePosition
) -> OrdersPlaced:
    """Sell what the position holds, unless something on its way closes it already."""
    action, target = "order.close-position", str(wish.position_id)
    async with actions.attempt(connection, actor, action, target=target), connection.transaction():
        ordered = await orders.close(connection, wish.position_id, _max_age(request))
        await actions.record(connection, actor, action, target=target, after=_summary(ordered))
    return _told(request, ordered)


@router.post("/order/mark-closed", responses=_NOT_OPEN)
async def mark_closed(request: Request, connection: Database, actor: Acting, wish: MarkClosed) -> Closed:
    """Declare a position closed that was closed elsewhere; nothing is sent."""
    action, target = "order.mark-closed", str(wish.position_id)
    async with actions.attempt(connection, actor, action, target=target), connection.transaction():
        closed = await orders.mark_closed(connection, wish.position_id, f"marked closed: {wish.reason}")
        await actions.record(
            connection,
            actor,
            action,
            target=target,
            before={"status": "open", "ticker": closed.ticker, "buys": closed.buys},
            after={"status": "closed", "reason": closed.reason},
        )
    runtime_of(request).wakeups.notify("changed")
    return closed


@router.post("/order/sell-all", status_code=202)
async def sell_all(request: Request, connection: Database, actor: Acting) -> OrdersPlaced:
    """Sell every open position once; pressed twice it orders no more."""
    async with connection.transaction():
        ordered = await orders.sell_all(connection, _max_age(request))
        await actions.record(connection, actor, "order.sell-all", after=_summary(ordered))
    return _told(request, ordered)


def _max_age(request: Request) -> int:
    return runtime_of(request).config.webhook.max_signal_age_seconds.sell


def _summary(ordered: OrdersPlaced) -> dict[str, Any]:
    """What the actions log keeps of it."""
    return {
        "queued": ordered.queued,
        "orders": {order.ticker: str(order.signal_id) for order in ordered.orders},
    }


def _told(request: Request, ordered: OrdersPlaced) -> OrdersPlaced:
    for order in ordered.orders:
        log.info("ordered by a person", signal_id=order.signal_id, ticker=order.ticker, type=order.type)
    if ordered.queued:
        wakeups = runtime_of(request).wakeups
        wakeups.notify("approved")
        wakeups.notify("changed")
    return ordered
