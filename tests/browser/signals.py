"""Signals of every kind in the database, as after days of trading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDED = ("forwarded", "rejected", "failed", "expired")
TYPES = ("buy", "sell", "manual_sell", "position_close", "sell_all")
HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>\"'\u202e"
INSERT = """
    INSERT INTO signals
        (id, received_at, status_at, expires_at, status, type, ticker, price, reason, body, attempts)
    SELECT * FROM unnest(
        $1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[],
        $7::text[], $8::numeric[], $9::text[], $10::bytea[], $11::int[])"""
EVENTS = """
    INSERT INTO signal_events (signal_id, status, reason)
    SELECT id, status, reason FROM signals WHERE id = ANY($1)"""


async def add_history(database_url: str, count: int = 60) -> list[UUID]:
    """Add signals that ended within the last day, every state and type among them; the newest last."""
    now = datetime.now(UTC)
    step = timedelta(hours=23) / count
    rows: list[Sequence[object]] = []
    for number in range(count):
        at = now - step * (count - number)
        status, kind = ENDED[number % len(ENDED)], TYPES[number % len(TYPES)]
        took = timedelta(milliseconds=40 + 7 * number)
        until = at + timedelta(minutes=5)
        why = f"because {HOSTILE}"
        rows.append(
            (uuid4(), at, at + took, until, status, kind, f"T{number % 7}", number, why, b"{}", number % 3)
        )
    connection = await asyncpg.connect(database_url)
    await connection.execute(INSERT, *map(list, zip(*rows, strict=True)))
    ids = [row[0] for row in rows if isinstance(row[0], UUID)]
    await connection.execute(EVENTS, ids)
    await connection.close()
    return ids
