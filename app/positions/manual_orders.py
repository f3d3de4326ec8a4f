"""Orders that a person places, and positions that a person closes."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import structlog
from pydantic import BaseModel

from app.config.destinations import DEFAULT_DESTINATION, DestinationConfig
from app.config.repository import still_configured
from app.context import AppContext
from app.db.pool import Connection
from app.errors import ConflictError, NoSuchError, RefusedError, describe
from app.orders.endings import end_overtaken, end_unlocked_entries
from app.orders.endings_repository import find_unsent_entries
from app.orders.repository import lock_approvals_exclusive
from app.positions import repository
from app.positions.repository import Closed, Place, PlacedOrder, Position
from app.positions.trades import DISMISSED
from app.runtime.ids import new_id
from app.signals.alert import read_fields, spell_ticker
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode
from app.signals.statuses import SignalType
from app.signals.tickers import fold

log = structlog.get_logger(__name__)

_BY_PEOPLE = (SignalType.MANUAL_SELL, SignalType.POSITION_CLOSE, SignalType.SELL_ALL)
_CLOSING = (SignalType.SELL, *_BY_PEOPLE)
_BY_PERSON = Reason(ReasonCode.BY_PERSON)


class OrdersPlaced(BaseModel):
    """The orders that were placed. `already` are pending orders that do the same."""

    queued: int
    orders: list[PlacedOrder]
    already: list[PlacedOrder]


async def sell(
    connection: Connection, ticker: str, max_age_seconds: int, destinations: Sequence[DestinationConfig]
) -> OrdersPlaced:
    """Place a sell order for any ticker, with a position or without; it expires after `max_age_seconds`.

    It goes to each destination where the ticker is, may be or is about to be open; without any, to all of
    `destinations`. A pending order that a person placed there counts as this one: no second one is placed.
    """
    await lock_approvals_exclusive(connection)
    folded = fold(ticker)
    open_at = [
        each.destination for each in await repository.open_positions(connection) if each.ticker == folded
    ]
    open_at += [
        place.destination
        for place in await repository.places_being_bought(connection)
        if place.ticker == folded
    ]
    if not open_at:
        open_at = [each.name for each in await still_configured(connection, destinations)]
    wanted = list(dict.fromkeys(open_at))
    already = await repository.pending_orders(
        connection, tickers=[folded], types=_BY_PEOPLE, destinations=wanted
    )
    closing = {order.destination for order in already}
    places = [Place(folded, name) for name in wanted if name not in closing]
    await _end_buys(connection, places)
    return await _place(connection, SignalType.MANUAL_SELL, places, max_age_seconds, already, typed=ticker)


async def close(connection: Connection, position_id: UUID, max_age_seconds: int) -> OrdersPlaced:
    """Place the order that closes a position, unless a pending order closes it already.

    Raises:
        NoSuchError, ConflictError: there is nothing to close.
    """
    await lock_approvals_exclusive(connection)
    position = await repository.open_position(connection, position_id=position_id)
    if position is None:
        raise await _why_not_open(connection, position_id)
    place = Place(position.ticker, position.destination)
    already = await _find_closing(connection, [place])
    places = [] if position.closing else [place]
    await _end_buys(connection, places)
    return await _place(connection, SignalType.POSITION_CLOSE, places, max_age_seconds, already)


async def sell_all(connection: Connection, max_age_seconds: int) -> OrdersPlaced:
    """Place an order for each open position, and wherever a ticker is being bought, unless one closes it.

    Buys that have not left end. A repeated request adds none.
    """
    await lock_approvals_exclusive(connection)
    await end_overtaken(connection, await find_unsent_entries(connection, tickers=None))
    return await _sell_all(connection, max_age_seconds, _BY_PERSON)


async def flatten(connection: Connection, max_age_seconds: int, why: Reason) -> OrdersPlaced:
    """Do what `sell_all` does without a person, who would see an error.

    Fails open: no order depends on the end of a buy. Where one is locked or cannot be ended, its ticker is
    sold, too.
    """
    await lock_approvals_exclusive(connection)
    try:
        async with connection.transaction():
            await end_unlocked_entries(connection, Reason(ReasonCode.OVERTAKEN))
    except asyncpg.PostgresError as error:
        log.warning("buys that have not left could not be ended", error=describe(error))
    return await _sell_all(connection, max_age_seconds, why)


async def _sell_all(connection: Connection, max_age_seconds: int, why: Reason) -> OrdersPlaced:
    positions = await repository.open_positions(connection)
    buying = await repository.places_being_bought(connection)
    everywhere = [*(Place(each.ticker, each.destination) for each in positions), *buying]
    already = await _find_closing(connection, everywhere)
    closing = {Place(order.ticker, order.destination) for order in already}
    places = [Place(each.ticker, each.destination) for each in positions if not each.closing]
    places += [place for place in buying if place not in closing]
    return await _place(connection, SignalType.SELL_ALL, places, max_age_seconds, already, why=why)


async def _find_closing(connection: Connection, places: Sequence[Place]) -> list[PlacedOrder]:
    """Return the pending orders that close a position at these places."""
    orders = await repository.pending_orders(
        connection,
        tickers=[place.ticker for place in places],
        types=_CLOSING,
        destinations=[place.destination for place in places],
    )
    return [order for order in orders if Place(order.ticker, order.destination) in places]


async def mark_closed(connection: Connection, position_id: UUID, reason: str) -> Closed:
    """Mark a position as closed that was closed elsewhere; no order is placed.

    Raises:
        NoSuchError, ConflictError: there is nothing to close.
    """
    closed = await repository.mark_closed(connection, position_id=position_id, reason=reason)
    if closed is None:
        raise await _why_not_open(connection, position_id)
    return closed


async def adopt(
    connection: Connection,
    *,
    ticker: str,
    destination: str,
    quantity: Decimal | None,
    price: Decimal | None,
    destinations: Sequence[DestinationConfig],
) -> Position:
    """Record a position that is open at the broker as unconfirmed. Exits pass; entries find it open.

    Raises:
        NoSuchError: the destination is none of the configured ones.
        ConflictError: a position in the ticker is open.
    """
    await lock_approvals_exclusive(connection)  # no destination is removed meanwhile
    configured = [each.name for each in await still_configured(connection, destinations)]
    if destination not in configured:
        raise NoSuchError(
            RefusalCode.DESTINATION_UNKNOWN, name=repr(destination), names=", ".join(configured)
        )
    position_id = await repository.adopt(
        connection, ticker=ticker, destination=destination, quantity=quantity, price=price
    )
    position = position_id and await repository.open_position(connection, position_id=position_id)
    if not position:
        raise ConflictError(RefusalCode.ALREADY_OPEN, ticker=ticker)
    return position


async def confirm(connection: Connection, position_id: UUID) -> Position:
    """Confirm that an unconfirmed position is open at the broker.

    Raises:
        NoSuchError, ConflictError: there is nothing to confirm.
    """
    await repository.confirm(connection, position_id=position_id)
    position = await repository.open_position(connection, position_id=position_id)
    if position is None:
        raise await _why_not_open(connection, position_id)
    return position


async def dismiss(connection: Connection, position_id: UUID) -> Closed:
    """Close an unconfirmed position that is not open at the broker; no order is placed.

    Raises:
        NoSuchError, ConflictError: there is nothing to dismiss, or the position is confirmed.
    """
    closed = await repository.mark_closed(
        connection, position_id=position_id, reason=DISMISSED, only_unconfirmed=True
    )
    if closed is None:
        if position := await repository.open_position(connection, position_id=position_id):
            raise ConflictError(RefusalCode.POSITION_CONFIRMED, ticker=position.ticker)
        raise await _why_not_open(connection, position_id)
    return closed


def announce(context: AppContext, placed: OrdersPlaced) -> None:
    """Log the orders and wake the workers; called after the commit."""
    for order in placed.orders:
        log.info("manual order placed", signal_id=order.signal_id, ticker=order.ticker, type=order.type)
    if placed.queued:
        context.wakeups.notify("approved", "changed")


def summary_of(placed: OrdersPlaced) -> dict[str, Any]:
    """Return what the actions log records of the orders."""
    return {
        "queued": placed.queued,
        "orders": {_named(order): str(order.signal_id) for order in placed.orders},
    }


def _named(order: PlacedOrder) -> str:
    return (
        order.ticker if order.destination == DEFAULT_DESTINATION else f"{order.ticker} ({order.destination})"
    )


async def _end_buys(connection: Connection, places: Sequence[Place]) -> None:
    """End the buys that have not left for these places."""
    for destination in dict.fromkeys(place.destination for place in places):
        tickers = [place.ticker for place in places if place.destination == destination]
        ids = await find_unsent_entries(connection, tickers=tickers)
        await end_overtaken(connection, ids, destination)


async def _place(
    connection: Connection,
    order_type: SignalType,
    places: Sequence[Place],
    max_age_seconds: int,
    already: list[PlacedOrder],
    typed: str = "",
    why: Reason = _BY_PERSON,
) -> OrdersPlaced:
    """Place an exit at each place, as `typed` if that is not the stored form, else as the alerts spell it.

    The destination may know BRK.B only, while tickers are stored as BRK-B.
    """
    tickers = list(dict.fromkeys(place.ticker for place in places))
    alerts = await repository.newest_alerts(connection, tickers=tickers)
    spellings = {ticker: spell_ticker(read_fields(body).get("ticker")) for ticker, body in alerts.items()}
    if typed and typed not in tickers:
        spellings = dict.fromkeys(tickers, typed)
    orders = await repository.insert_orders(
        connection,
        order_type=order_type,
        max_age_seconds=max_age_seconds,
        ids=[new_id() for _ in places],
        places=places,
        bodies=[
            msgspec.json.encode({"ticker": spellings.get(place.ticker) or place.ticker, "action": "exit"})
            for place in places
        ],
        reason=why,
    )
    return OrdersPlaced(queued=len(orders), orders=orders, already=already)


async def _why_not_open(connection: Connection, position_id: UUID) -> RefusedError:
    ticker = await repository.ticker_of_position(connection, position_id=position_id)
    if ticker is None:
        return NoSuchError(RefusalCode.NO_POSITION)
    return ConflictError(RefusalCode.POSITION_CLOSED, ticker=ticker)
