"""Routes for open positions, and for the orders that people place."""

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, Field, StringConstraints

from app.audit import repository as audit_log
from app.positions import manual_orders, repository
from app.positions.manual_orders import OrdersPlaced, summary_of
from app.positions.repository import Closed
from app.positions.trades import MARKED
from app.signals.tickers import fold
from app.web.dependencies import (
    REFUSALS,
    CurrentActor,
    Database,
    Reading,
    Storable,
    TypedTicker,
    context_of,
    signed_in,
)
from app.web.problems import Problem
from app.web.routing import new_router

router = new_router(prefix="/admin", tags=["positions"], responses=REFUSALS, dependencies=[signed_in])

NOT_OPEN: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "No such position"},
    409: {"model": Problem, "description": "The position is closed already, or confirmed"},
}

_Amount = Annotated[Decimal, Field(gt=0, le=10**12, decimal_places=18)]


class SellIndividual(BaseModel):
    """A sell of any ticker. Case, an exchange before it and surrounding whitespace are ignored."""

    ticker: TypedTicker


class ClosePosition(BaseModel):
    """Which position to sell."""

    position_id: UUID


class MarkClosed(BaseModel):
    """Which position was closed elsewhere, and the reason to record."""

    position_id: UUID
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), Storable]


class AdoptedPosition(BaseModel):
    """A position that is open at the broker.

    Of the ticker, case, an exchange before it and surrounding whitespace are ignored. `price`: the average
    price. Null: unknown.
    """

    ticker: TypedTicker
    destination: Annotated[str, Field(max_length=40, description="The name of a configured destination")]
    quantity: _Amount | None = None
    price: _Amount | None = None


class OpenPositions(BaseModel):
    """Every open position, by ticker."""

    positions: list[repository.Position]


@router.get("/positions")
async def positions(connection: Reading) -> OpenPositions:
    """Open positions, each with its pending orders."""
    return OpenPositions(positions=await repository.open_positions(connection))


@router.post("/order/sell-individual", status_code=202)
async def sell_individual(
    request: Request, connection: Database, actor: CurrentActor, order: SellIndividual
) -> OrdersPlaced:
    """Sell a ticker, with a position or without. A pending order that a person placed counts as this one."""
    async with connection.transaction():
        destinations = context_of(request).config.destinations
        placed = await manual_orders.sell(connection, order.ticker, _max_age_seconds(request), destinations)
        await audit_log.record(
            connection,
            actor,
            "order.sell-individual",
            target=order.ticker,
            after=summary_of(placed),
        )
    return _announce(request, placed)


@router.post("/order/close-position", status_code=202, responses=NOT_OPEN)
async def close_position(
    request: Request, connection: Database, actor: CurrentActor, order: ClosePosition
) -> OrdersPlaced:
    """Sell the position's ticker at its destination, unless a pending order closes the position already."""
    action, target = "order.close-position", str(order.position_id)
    async with audit_log.attempt(connection, actor, action, target=target), connection.transaction():
        placed = await manual_orders.close(connection, order.position_id, _max_age_seconds(request))
        await audit_log.record(connection, actor, action, target=target, after=summary_of(placed))
    return _announce(request, placed)


@router.post("/order/mark-closed", responses=NOT_OPEN)
async def mark_closed(
    request: Request, connection: Database, actor: CurrentActor, order: MarkClosed
) -> Closed:
    """Mark a position as closed that was closed elsewhere. No order is sent."""
    action, target = "order.mark-closed", str(order.position_id)
    async with audit_log.attempt(connection, actor, action, target=target), connection.transaction():
        closed = await manual_orders.mark_closed(connection, order.position_id, f"{MARKED}{order.reason}")
        await _record_closed(connection, actor, action, closed)
    context_of(request).wakeups.notify("changed")
    return closed


@router.post(
    "/positions/adopt",
    status_code=201,
    responses={
        404: {"model": Problem, "description": "No such destination"},
        409: {"model": Problem, "description": "A position in this ticker is open at this destination"},
    },
)
async def adopt_position(
    request: Request, connection: Database, actor: CurrentActor, adopted: AdoptedPosition
) -> repository.Position:
    """Record a position that is open at the broker. It is unconfirmed: its exits pass. Nothing is sent."""
    action, ticker = "position.adopt", fold(adopted.ticker)
    async with audit_log.attempt(connection, actor, action, target=ticker), connection.transaction():
        position = await manual_orders.adopt(
            connection,
            ticker=ticker,
            destination=adopted.destination,
            quantity=adopted.quantity,
            price=adopted.price,
            destinations=context_of(request).config.destinations,
        )
        after = {**adopted.model_dump(), "ticker": ticker}
        await audit_log.record(connection, actor, action, target=str(position.id), after=after)
    context_of(request).wakeups.notify("changed")
    return position


@router.post("/positions/{position_id}/confirm", responses=NOT_OPEN)
async def confirm_position(
    request: Request, connection: Database, actor: CurrentActor, position_id: UUID
) -> repository.Position:
    """Confirm that an unconfirmed position is open at the broker. Nothing is sent."""
    action, target = "position.confirm", str(position_id)
    async with audit_log.attempt(connection, actor, action, target=target), connection.transaction():
        position = await manual_orders.confirm(connection, position_id)
        await audit_log.record(
            connection, actor, action, target=target, after={"ticker": position.ticker, "buys": position.buys}
        )
    context_of(request).wakeups.notify("changed")
    return position


@router.post("/positions/{position_id}/dismiss", responses=NOT_OPEN)
async def dismiss_position(
    request: Request, connection: Database, actor: CurrentActor, position_id: UUID
) -> Closed:
    """Close an unconfirmed position that is not open at the broker. Nothing is sent."""
    action, target = "position.dismiss", str(position_id)
    async with audit_log.attempt(connection, actor, action, target=target), connection.transaction():
        closed = await manual_orders.dismiss(connection, position_id)
        await _record_closed(connection, actor, action, closed)
    context_of(request).wakeups.notify("changed")
    return closed


@router.post("/order/sell-all", status_code=202)
async def sell_all(request: Request, connection: Database, actor: CurrentActor) -> OrdersPlaced:
    """Sell every open position. A repeated request places no second order."""
    async with connection.transaction():
        placed = await manual_orders.sell_all(connection, _max_age_seconds(request))
        await audit_log.record(connection, actor, "order.sell-all", after=summary_of(placed))
    return _announce(request, placed)


async def _record_closed(connection: Database, actor: CurrentActor, action: str, closed: Closed) -> None:
    await audit_log.record(
        connection,
        actor,
        action,
        target=str(closed.position_id),
        before={"status": "open", "ticker": closed.ticker, "buys": closed.buys},
        after={"status": "closed", "reason": closed.reason},
    )


def _max_age_seconds(request: Request) -> int:
    return context_of(request).config.webhook.max_signal_age_seconds.sell


def _announce(request: Request, placed: OrdersPlaced) -> OrdersPlaced:
    manual_orders.announce(context_of(request), placed)
    return placed
