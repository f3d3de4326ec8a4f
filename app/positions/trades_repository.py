"""The statements of `trades.sql` as typed functions: closed positions as trades, and their sums.

The dataclasses are parts of the API's answers too: their names, fields and docstrings are in its document.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self
from uuid import UUID

from app.db.pool import Connection
from app.db.queries import fetch_one, load
from app.db.reading import ReadingPool
from app.positions.trades import BookedOrder, ClosedPosition, Trade, make_trade
from app.signals.amounts import Amount
from app.signals.book import stored_terms
from app.signals.statuses import Outcome

CURSOR_PATTERN = r"^[0-9]{1,17}-[0-9a-f]{32}$"
MOST_ORDERS = 200  # of a trade; with more of them its quantity is unknown

_SQL = load("app.positions", "trades")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class TradeCursor(NamedTuple):
    """The last trade of a page. Trades that were closed in the same microsecond are in order of their ids."""

    closed_at: datetime
    id: UUID

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """Parse what matches `CURSOR_PATTERN`."""
        microseconds, _, trade_id = cursor.partition("-")
        return cls(_EPOCH + int(microseconds) * _MICROSECOND, UUID(trade_id))

    def __str__(self) -> str:
        return f"{(self.closed_at - _EPOCH) // _MICROSECOND}-{self.id.hex}"


class TradeFilter(NamedTuple):
    """Which trades; None leaves a filter out. `start` and `end` are about the closing, `end` is exclusive."""

    ticker: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class TradePage:
    """Newest first. `next_cursor` is the cursor of the next page, null on the last page."""

    trades: list[Trade]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class TradeSums:
    """Sums of trades by the prices of alerts, not by fills. `unknown` counts those without a known result.

    `result` adds up the known ones; null if there is none. Prices are added as they are, in any currency.
    """

    trades: int
    gains: int
    losses: int
    unknown: int
    result: Amount | None


async def fetch_trades(
    database: Connection | ReadingPool,
    *,
    wanted: TradeFilter,
    before: TradeCursor | None = None,
    limit: int,
) -> TradePage:
    """Return at most `limit` trades, the last closed first."""
    rows = await database.fetch(
        _SQL["trades"],
        *wanted,
        *(before or (None, None)),
        limit + 1,
    )
    found = [ClosedPosition(**row) for row in rows[:limit]]
    orders = await _fetch_orders(database, [position.id for position in found])
    cursor = TradeCursor(found[-1].closed_at, found[-1].id) if len(rows) > limit else None
    return TradePage(
        trades=[make_trade(position, orders[position.id]) for position in found],
        next_cursor=None if cursor is None else str(cursor),
    )


async def fetch_sums(connection: Connection, *, wanted: TradeFilter) -> TradeSums:
    """Add up the trades of a filter."""
    return TradeSums(**await fetch_one(connection, _SQL["sums"], *wanted))


async def _fetch_orders(
    database: Connection | ReadingPool, trades: list[UUID]
) -> defaultdict[UUID, list[BookedOrder]]:
    """Return the orders of each trade, in the order in which they changed the position."""
    orders = defaultdict[UUID, list[BookedOrder]](list)
    for row in await database.fetch(_SQL["orders_of_trades"], trades, MOST_ORDERS) if trades else ():
        terms = stored_terms(
            row["type"],
            row["intent"],
            row["quantity"],
            row["quantity_unit"],
            row["sentiment"],
            row["price"],
        )
        orders[row["trade"]].append(
            BookedOrder(row["signal_id"], row["at"], terms, Outcome(row["outcome"]), row["is_sent_before"])
        )
    return orders
