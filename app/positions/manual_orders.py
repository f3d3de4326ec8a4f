"""Orders that a person gives, and positions that a person closes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from pydantic import BaseModel

from app.db.pool import Connection
from app.db.queries import load
from app.errors import ConflictError, NoSuchError, RefusedError
from app.orders.repository import lock_approvals_exclusive
from app.runtime.ids import new_id
from app.signals.statuses import SignalType

_SQL = load("app.positions")
_BY_PERSON = (SignalType.MANUAL_SELL, SignalType.POSITION_CLOSE, SignalType.SELL_ALL)
_CLOSING = (SignalType.SELL, *_BY_PERSON)


class PlacedOrder(BaseModel):
    """One order; its story is at `/admin/signals/{signal_id}`."""

    signal_id: UUID
    ticker: str
    type: str


class OrdersPlaced(BaseModel):
    """What an order led to. `already` are orders that do the same and were on their way before."""

    queued: int
    orders: list[PlacedOrder]
    already: list[PlacedOrder]


class Position(BaseModel):
    """An open position. `opening`, `closing`: a buy, or something that closes it, is on its way."""

    id: UUID
    ticker: str
    opened_at: datetime
    opened_by: UUID | None
    buys: int
    opening: bool
    closing: bool


class Closed(BaseModel):
    """A position that a person declared closed, without an order."""

    position_id: UUID
    ticker: str
    buys: int
    opened_at: datetime
    closed_at: datetime
    reason: str


class NoSuchPositionError(NoSuchError):
    """There is no position of that id."""

    def __init__(self) -> None:
        super().__init__("there is no such position: GET /admin/positions lists the open ones")


class PositionClosedError(ConflictError):
    """The position is not open any more."""

    def __init__(self, ticker: str) -> None:
        super().__init__(f"the position in {ticker} is closed already")


async def open_positions(connection: Connection) -> list[Position]:
    """Every open position, by ticker."""
    return [Position(**row) for row in await connection.fetch(_SQL["open"], None)]


async def sell(connection: Connection, ticker: str, max_age: int) -> OrdersPlaced:
    """Order a sell of any ticker, also of one without a position; `max_age` in seconds.

    An order that a person gave before and that is on its way stands for it.
    """
    await lock_approvals_exclusive(connection)
    already = await _on_their_way(connection, [ticker], _BY_PERSON)
    return await _order(connection, SignalType.MANUAL_SELL, [] if already else [ticker], max_age, already)


async def close(connection: Connection, position_id: UUID, max_age: int) -> OrdersPlaced:
    """Order that the position be closed, unless something closes it already.

    Raises:
        NoSuchPositionError, PositionClosedError: there is nothing to close.
    """
    await lock_approvals_exclusive(connection)
    row = await connection.fetchrow(_SQL["open"], position_id)
    if row is None:
        raise await _why_not_open(connection, position_id)
    ticker: str = row["ticker"]
    already = await _on_their_way(connection, [ticker], _CLOSING)
    return await _order(
        connection, SignalType.POSITION_CLOSE, [] if row["closing"] else [ticker], max_age, already
    )


async def sell_all(connection: Connection, max_age: int) -> OrdersPlaced:
    """Order each open position closed that nothing closes already: pressed twice it orders no more."""
    await lock_approvals_exclusive(connection)
    positions = await open_positions(connection)
    already = await _on_their_way(connection, [position.ticker for position in positions], _CLOSING)
    tickers = [position.ticker for position in positions if not position.closing]
    return await _order(connection, SignalType.SELL_ALL, tickers, max_age, already)


async def mark_closed(connection: Connection, position_id: UUID, reason: str) -> Closed:
    """Declare a position closed, for one that was closed elsewhere; nothing is sent.

    Raises:
        NoSuchPositionError, PositionClosedError: there is nothing to close.
    """
    row = await connection.fetchrow(_SQL["mark_closed"], position_id, reason)
    if row is None:
        raise await _why_not_open(connection, position_id)
    return Closed(**row)


async def _order(
    connection: Connection,
    order_type: SignalType,
    tickers: Sequence[str],
    max_age: int,
    already: list[PlacedOrder],
) -> OrdersPlaced:
    bodies = [msgspec.json.encode({"ticker": ticker, "action": "sell", "side": "sell"}) for ticker in tickers]
    rows = await connection.fetch(
        _SQL["order"], order_type, max_age, [new_id() for _ in tickers], tickers, bodies
    )
    return OrdersPlaced(queued=len(rows), orders=[PlacedOrder(**row) for row in rows], already=already)


async def _on_their_way(
    connection: Connection, tickers: Sequence[str], types: Sequence[str]
) -> list[PlacedOrder]:
    return [PlacedOrder(**row) for row in await connection.fetch(_SQL["on_their_way"], tickers, types)]


async def _why_not_open(connection: Connection, position_id: UUID) -> RefusedError:
    ticker: str | None = await connection.fetchval(_SQL["ticker_of"], position_id)
    return NoSuchPositionError() if ticker is None else PositionClosedError(ticker)
