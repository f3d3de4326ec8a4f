"""Table `positions`, and the signals that people's orders become.

A caller that inserts orders holds `lock_approvals_exclusive` of `app.orders.repository` until its
transaction ends.
The dataclasses are parts of the API's answers too: their names, fields and docstrings are in its document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from app.db.pool import Connection, Pool
from app.db.queries import load
from app.signals.amounts import Amount
from app.signals.reasons import Reason
from app.signals.statuses import SignalType

_SQL = load("app.positions")


@dataclass(frozen=True, slots=True)
class Position:
    """An open position. `opening`: a buy of it is pending. `closing`: an order that closes it is pending.

    `confirmed` is false if it may be open: the outcome of an order is unknown, or a person recorded it.
    `buys` counts delivered buys. `quantity` is null if it is unknown. `average_price`, and `realized`, the
    gain of what was sold, are by the prices of alerts, not by fills; of a recorded position by the recorded
    price.
    """

    id: UUID
    ticker: str
    destination: str
    opened_at: datetime
    opened_by: UUID | None
    buys: int
    quantity: Amount | None
    average_price: Amount | None
    realized: Amount | None
    confirmed: bool
    opening: bool
    closing: bool


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """One order; its timeline is at `/admin/signals/{signal_id}`."""

    signal_id: UUID
    ticker: str
    type: str
    destination: str


class Place(NamedTuple):
    """A ticker at a destination, by its name."""

    ticker: str
    destination: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A position that a person marked as closed, without an order."""

    position_id: UUID
    ticker: str
    destination: str
    buys: int
    opened_at: datetime
    closed_at: datetime
    reason: str


class FlattenSchedule(NamedTuple):
    """When all positions are sold next, and the database's time; None without a schedule.

    `handled_due_at`: the latest time that was due and was handled.
    """

    now: datetime
    flatten_at: str | None
    due_at: datetime | None
    handled_due_at: datetime | None


class MissedFlatten(NamedTuple):
    """A sell-all that was not made in time: how its time is configured, and when that was."""

    flatten_at: str
    missed_due_at: datetime


class Stranded(NamedTuple):
    """Open positions at a destination that is not configured, and since when the first of them is open."""

    destination: str
    positions: int
    since: datetime


async def open_positions(connection: Connection | Pool) -> list[Position]:
    """Return all open positions, by ticker."""
    return [Position(**row) for row in await connection.fetch(_SQL["open_positions"], None)]


async def open_position(connection: Connection | Pool, *, position_id: UUID) -> Position | None:
    """Return the position; None when there is none of that id, or it is closed."""
    row = await connection.fetchrow(_SQL["open_positions"], position_id)
    return None if row is None else Position(**row)


async def places_being_bought(connection: Connection | Pool) -> list[Place]:
    """Return where nothing is open of a ticker whose buy is being sent, or may still be."""
    return list(map(Place._make, await connection.fetch(_SQL["places_being_bought"])))


async def read_without_destination(connection: Connection, *, configured: Sequence[str]) -> list[Stranded]:
    """Return where positions are open, other than at the destinations of these names."""
    return list(map(Stranded._make, await connection.fetch(_SQL["read_without_destination"], configured)))


async def ticker_of_position(connection: Connection | Pool, *, position_id: UUID) -> str | None:
    """Return the ticker of a position, open or closed; None when there is none of that id."""
    ticker: str | None = await connection.fetchval(_SQL["ticker_of_position"], position_id)
    return ticker


async def position_opened_by(connection: Connection | Pool, *, signal_id: UUID) -> UUID | None:
    """Return the id of the newest position that a signal opened; None when it opened none."""
    position_id: UUID | None = await connection.fetchval(_SQL["position_opened_by"], signal_id)
    return position_id


async def pending_orders(
    connection: Connection | Pool,
    *,
    tickers: Sequence[str],
    types: Sequence[SignalType],
    destinations: Sequence[str],
) -> list[PlacedOrder]:
    """Return pending orders of these tickers and types that close a position, in the order of arrival."""
    rows = await connection.fetch(_SQL["pending_orders"], tickers, types, destinations)
    return [PlacedOrder(**row) for row in rows]


async def newest_alerts(connection: Connection | Pool, *, tickers: Sequence[str]) -> dict[str, bytes]:
    """Return the body of each ticker's newest alert, by ticker; a ticker without one is left out."""
    rows = await connection.fetch(_SQL["newest_alerts"], tickers)
    return {row["ticker"]: row["body"] for row in rows}


async def insert_orders(
    connection: Connection,
    *,
    order_type: SignalType,
    max_age_seconds: int,
    ids: Sequence[UUID],
    places: Sequence[Place],
    bodies: Sequence[bytes],
    reason: Reason,
) -> list[PlacedOrder]:
    """Insert approved signals with their timelines; they expire `max_age_seconds` from now.

    `ids`, `places` and `bodies` have one entry for each order. Nothing is decided: the person has approved.
    """
    rows = await connection.fetch(
        _SQL["insert_orders"],
        *(order_type, max_age_seconds, ids, [place.ticker for place in places], bodies),
        *reason.columns(),
        [place.destination for place in places],
    )
    return [PlacedOrder(**row) for row in rows]


async def read_flatten_schedule(connection: Connection | Pool) -> FlattenSchedule:
    """Return when all positions are sold next."""
    (row,) = await connection.fetch(_SQL["read_flatten_schedule"])
    return FlattenSchedule(**row)


async def set_flatten_schedule(connection: Connection | Pool, *, flatten_at: str, due_at: datetime) -> None:
    """Schedule the next sell-all; an earlier schedule is replaced."""
    await connection.execute(_SQL["set_flatten_schedule"], flatten_at, due_at)


async def clear_flatten_schedule(connection: Connection | Pool) -> None:
    """Schedule no sell-all: no time is configured."""
    await connection.execute(_SQL["clear_flatten_schedule"])


async def claim_flatten(
    connection: Connection, *, flatten_at: str, due_at: datetime, next_due_at: datetime, is_missed: bool
) -> int | None:
    """Mark the sell-all that is due as handled in this transaction; None: another one has done so.

    Return the `seq` of the newest signal.
    """
    last: int | None = await connection.fetchval(
        _SQL["claim_flatten"], flatten_at, due_at, next_due_at, is_missed
    )
    return last


async def read_missed_flatten(connection: Connection | Pool) -> MissedFlatten | None:
    """Return the sell-all that was missed, while a position that it should have sold is open."""
    row = await connection.fetchrow(_SQL["read_missed_flatten"])
    return None if row is None else MissedFlatten(**row)


async def adopt(
    connection: Connection, *, ticker: str, destination: str, quantity: Decimal | None, price: Decimal | None
) -> UUID | None:
    """Insert an unconfirmed open position and return its id; None when one of the ticker is open there."""
    position_id: UUID | None = await connection.fetchval(_SQL["adopt"], ticker, destination, quantity, price)
    return position_id


async def confirm(connection: Connection, *, position_id: UUID) -> str | None:
    """Confirm that a position is open and return its ticker; None when it is not open here."""
    ticker: str | None = await connection.fetchval(_SQL["confirm"], position_id)
    return ticker


async def mark_closed(
    connection: Connection, *, position_id: UUID, reason: str, only_unconfirmed: bool = False
) -> Closed | None:
    """Set an open position to closed, with this reason; None when it is not open, or should not be closed."""
    row = await connection.fetchrow(_SQL["mark_closed"], position_id, reason, only_unconfirmed)
    return None if row is None else Closed(**row)
