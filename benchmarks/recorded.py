"""A week of recorded decisions, as the application stores them, for what-if."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import msgspec

from app.decision.batch import ClaimedSignal, TickerBook
from app.decision.record import BatchInputs, DestinationInputs, ListInForce, stored_form
from app.decision.risk import RiskCounts, RiskRules
from app.decision.rules import ListFacts
from app.signals.book import Book, BookRules, Position

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.db.pool import Connection

TOP_N, DEPTH = 15, 40
_WEEK = timedelta(days=7)
_TICKERS = tuple(f"W{number}" for number in range(DEPTH))
_STRATEGY, _LIST_ID, _AGE_SECONDS = "week", 1_000_000, 90
_A_COPY = 2_000  # batches that are written at a time
_NOTHING = TickerBook(Book(), (), is_complete=True)
_HELD = TickerBook(Book.of(Position(Decimal(1))), (), is_complete=True)
_COLUMNS = {
    "signals": ("id", "status", "type", "ticker", "received_at", "status_at", "expires_at", "price", "body"),
    "signal_events": ("signal_id", "at", "status", "reason", "reason_code", "reason_params", "detail"),
    "decision_batches": ("at", "signal_ids", "inputs"),
}


def store_week(url: str, signals: int, a_batch: int) -> None:
    """Write so many signals of the last week with their decisions, so many in a batch, and the lists.

    Buys and sells of each ticker take turns. Those of the Top-N are approved and delivered, the others are in
    the list below it.
    """
    asyncio.run(_store(url, signals, a_batch))


async def _store(url: str, signals: int, a_batch: int) -> None:
    start = datetime.now(UTC) - _WEEK
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            """INSERT INTO top_n_lists (id, strategy, source, max_age_seconds, tickers)
               OVERRIDING SYSTEM VALUE VALUES ($1, $2, 'html', $3, $4)""",
            *(_LIST_ID, _STRATEGY, _AGE_SECONDS, _TICKERS[:TOP_N]),
        )
        await connection.execute(
            """INSERT INTO list_refreshes (list_id, strategy, at, max_age_seconds, top_n, further, is_whole)
               SELECT $1, $2, at, $3, $4, $5, false
               FROM generate_series($6::timestamptz, now(), interval '1 minute') AS at""",
            *(_LIST_ID, _STRATEGY, _AGE_SECONDS, TOP_N, _TICKERS[TOP_N:], start),
        )
        batches = _batches(start, signals, a_batch)
        while some := list(islice(batches, _A_COPY)):
            await _copy(connection, some)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


def _batches(start: datetime, signals: int, a_batch: int) -> Iterator[BatchInputs]:
    for first in range(0, signals, a_batch):
        now = start + _WEEK * (first / signals)
        fetched_at = start + (now - start) // timedelta(minutes=1) * timedelta(minutes=1)
        claimed, books = [], {}
        for number in range(first, min(first + a_batch, signals)):
            place, turn = number % DEPTH, number // DEPTH
            ticker, kind = _TICKERS[place], ("buy", "sell")[turn % 2]
            rank = place + 1 if place < TOP_N else None
            listed = ListFacts(rank, TOP_N, (now - fetched_at).total_seconds())
            body = json.dumps({"ticker": ticker, "action": kind, "quantity": 1}).encode()
            books[ticker] = _HELD if rank and kind == "sell" else _NOTHING
            signal = UUID(int=number + 1), number + 1, ticker, kind, body
            claimed.append(ClaimedSignal(*signal, is_expired=False, facts=listed))
        yield BatchInputs(
            *(claimed, [DestinationInputs(books, RiskCounts())], BookRules(), RiskRules(), now),
            ListInForce(_STRATEGY, TOP_N, _AGE_SECONDS, id=_LIST_ID, fetched_at=fetched_at),
        )


async def _copy(connection: Connection, batches: list[BatchInputs]) -> None:
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _COLUMNS}
    for inputs in batches:
        at = inputs.now
        for signal, decision in zip(inputs.signals, inputs.decide().decisions, strict=True):
            status = "forwarded" if decision.terms else decision.status
            times = at, at, at + timedelta(minutes=5)
            rows["signals"].append(
                (signal.id, status, signal.type, signal.ticker, *times, 100 + signal.seq % 7, signal.body)
            )
            reason, code, params = decision.reason.columns()
            facts = (reason, code, json.dumps(params), json.dumps(decision.detail))
            rows["signal_events"].append((signal.id, at, decision.status, *facts))
        stored = msgspec.json.encode(stored_form(inputs)).decode()
        rows["decision_batches"].append((at, [signal.id for signal in inputs.signals], stored))
    for table, columns in _COLUMNS.items():
        await connection.copy_records_to_table(table, records=rows[table], columns=columns)
