"""Open positions, and what a person orders of them."""

from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from app.audit import repository as audit_log
from app.positions import manual_orders
from app.positions.manual_orders import Closed, OrdersPlaced
from app.web.dependencies import REFUSALS, CurrentActor, Database, Reading, context_of, signed_in
from app.web.problems import Problem

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

    positions: list[manual_orders.Position]


@router.get("/positions")
async def positions(connection: Reading) -> OpenPositions:
    """Every open position, with what is on its way for it."""
    return OpenPositions(positions=await manual_orders.open_positions(connection))


@router.post("/order/sell-individual", status_code=202)
async def sell_individual(
    request: Request, connection: Database, actor: CurrentActor, wish: SellIndividual
) -> OrdersPlaced:
    """Sell a ticker, with a position or without; an order given before that is on its way stands for it."""
    async with connection.transaction():
        ordered = await manual_orders.sell(connection, wish.ticker, _max_age(request))
        await audit_log.record(
            connection, actor, "order.sell-individual", target=wish.ticker, after=_summary(ordered)
        )
    return _announce(request, ordered)


@router.post("/order/close-position", status_code=202, responses=_NOT_OPEN)
async def close_position(
    request: Request, connection: Database, actor: CurrentActor, wish: ClosePosition
) -> OrdersPlaced:
    """Sell what the position holds, unless something on its way closes it already."""
    action, target = "order.close-position", str(wish.position_id)
    async with audit_log.attempt(connection, actor, action, target=target), connection.transaction():
        ordered = await manual_orders.close(connection, wish.position_id, _max_age(request))
        await audit_log.record(connection, actor, action, target=target, after=_summary(ordered))
    return _announce(request, ordered)


@router.post("/order/mark-closed", responses=_NOT_OPEN)
async def mark_closed(
    request: Request, connection: Database, actor: CurrentActor, wish: MarkClosed
) -> Closed:
    """Declare a position closed that was closed elsewhere; nothing is sent."""
    action, target = "order.mark-closed", str(wish.position_id)
    async with audit_log.attempt(connection, actor, action, target=target), connection.transaction():
        closed = await manual_orders.mark_closed(
            connection, wish.position_id, f"marked closed: {wish.reason}"
        )
        await audit_log.record(
            connection,
            actor,
            action,
            target=target,
            before={"status": "open", "ticker": closed.ticker, "buys": closed.buys},
            after={"status": "closed", "reason": closed.reason},
        )
    context_of(request).wakeups.notify("changed")
    return closed


@router.post("/order/sell-all", status_code=202)
async def sell_all(request: Request, connection: Database, actor: CurrentActor) -> OrdersPlaced:
    """Sell every open position once; pressed twice it orders no more."""
    async with connection.transaction():
        ordered = await manual_orders.sell_all(connection, _max_age(request))
        await audit_log.record(connection, actor, "order.sell-all", after=_summary(ordered))
    return _announce(request, ordered)


def _max_age(request: Request) -> int:
    return context_of(request).config.webhook.max_signal_age_seconds.sell


def _summary(ordered: OrdersPlaced) -> dict[str, Any]:
    """What the actions log keeps of it."""
    return {
        "queued": ordered.queued,
        "orders": {order.ticker: str(order.signal_id) for order in ordered.orders},
    }


def _announce(request: Request, ordered: OrdersPlaced) -> OrdersPlaced:
    for order in ordered.orders:
        log.info("ordered by a person", signal_id=order.signal_id, ticker=order.ticker, type=order.type)
    if ordered.queued:
        wakeups = context_of(request).wakeups
        wakeups.notify("approved")
        wakeups.notify("changed")
    return ordered
