"""Routes for trades: closed positions, their sums, and both as CSV."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.responses import StreamingResponse

from app.admin.routes.records import CSV_RESPONSE, attachment
from app.db.pool import Connection
from app.db.reading import ReadingPool
from app.positions.trades import Trade
from app.positions.trades_repository import (
    CURSOR_PATTERN,
    TradeCursor,
    TradeFilter,
    TradePage,
    TradeSums,
    fetch_sums,
    fetch_trades,
)
from app.transfer import spreadsheet
from app.web.dependencies import (
    REFUSALS,
    Limit,
    Moment,
    Reading,
    SourceName,
    Ticker,
    context_of,
    signed_in,
)
from app.web.routing import new_router

_EXPORT_PAGE_ROWS = 200
COLUMNS = (
    "closed_at",
    "ticker",
    "quantity",
    "entry_price",
    "exit_price",
    "result",
    "opened_at",
    "duration_seconds",
    "buys",
    "exits",
    "source",
    "rank",
    "list_size",
    "confirmed",
    "ended",
    "reason",
    "destination",
    "opened_by",
    "closed_by",
    "id",
)

router = new_router(prefix="/admin/trades", tags=["trades"], responses=REFUSALS, dependencies=[signed_in])


def _filter(
    ticker: Ticker | None = None,
    start: Annotated[
        Moment | None,
        Query(alias="from", description="Closed at this time or later, such as 2026-11-22T00:00:00Z"),
    ] = None,
    end: Annotated[Moment | None, Query(alias="to", description="Closed before this time")] = None,
    source: SourceName | None = None,
) -> TradeFilter:
    return TradeFilter(ticker, start, end, source)


Wanted = Annotated[TradeFilter, Depends(_filter)]
TradeCursorText = Annotated[
    str | None, Query(pattern=CURSOR_PATTERN, description="`next_cursor` of the previous page")
]


@router.get("")
async def trades(
    connection: Reading, wanted: Wanted, limit: Limit = 50, cursor: TradeCursorText = None
) -> TradePage:
    """Closed positions, the last closed first."""
    before = TradeCursor.parse(cursor) if cursor else None
    return await fetch_trades(connection, wanted=wanted, before=before, limit=limit)


@router.get("/sums")
async def trade_sums(request: Request, wanted: Wanted) -> TradeSums:
    """Number and result of the trades, by the prices of alerts."""

    async def read(connection: Connection) -> TradeSums:
        return await fetch_sums(connection, wanted=wanted)

    return await context_of(request).reading.compute(("trade_sums", wanted), read)


@router.get("/export", response_class=StreamingResponse, responses=CSV_RESPONSE)
async def export_trades(request: Request, wanted: Wanted) -> StreamingResponse:
    """The trades as CSV, the last closed first. A spreadsheet reads no cell as a formula."""
    pool = context_of(request).reading
    # before the response begins, so that a failure is answered with its status
    newest = await fetch_trades(pool, wanted=wanted, limit=_EXPORT_PAGE_ROWS)
    return attachment("trades", _lines(pool, wanted, newest))


async def _lines(pool: ReadingPool, wanted: TradeFilter, page: TradePage) -> AsyncIterator[bytes]:
    """Yield the CSV file: the header, the newest page, then all older ones."""
    yield spreadsheet.SIGNATURE + spreadsheet.lines([COLUMNS])
    while True:
        yield spreadsheet.lines(_cells(trade) for trade in page.trades)
        if page.next_cursor is None:
            return
        page = await fetch_trades(
            pool, wanted=wanted, before=TradeCursor.parse(page.next_cursor), limit=_EXPORT_PAGE_ROWS
        )


def _cells(trade: Trade) -> list[object]:
    values: dict[str, object] = {name: getattr(trade, name) for name in COLUMNS}
    values |= {
        "exits": len(trade.exits) if trade.stored else None,
        "confirmed": "yes" if trade.confirmed else "no",
        "ended": trade.ended.value,
        "reason": trade.reason or None,
    }
    return [values[name] for name in COLUMNS]
