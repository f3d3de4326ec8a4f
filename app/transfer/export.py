"""Signals with their whole story as CSV, a page at a time: no long transaction, little memory."""

import base64
from collections.abc import AsyncIterator
from datetime import datetime

import asyncpg

from app.db.pool import Pool
from app.db.queries import load
from app.db.reading import ReadingPool
from app.transfer import spreadsheet

COLUMNS = (
    "id",
    "received_at",
    "status",
    "status_at",
    "type",
    "ticker",
    "price",
    "reason",
    "sender_signal_id",
    "round",
    "attempts",
    "expires_at",
    "body",
    "events",
    "deliveries",
    "imported_at",  # by which `import` recognises how cells are neutralised
)
BASE64 = "base64:"  # before a body that is not text, or begins like this itself

_SQL = load("app.transfer")
_ROWS = 200


async def pages(
    pool: Pool | ReadingPool, last_seq: int, ended_by: datetime | None = None
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield `(rows, CSV)` up to `last_seq`, the header first; with `ended_by` only what had ended then."""
    yield 0, spreadsheet.SIGNATURE + spreadsheet.lines([COLUMNS])
    after = 0
    while rows := await pool.fetch(_SQL["page"], after, last_seq, _ROWS, ended_by):
        yield len(rows), spreadsheet.lines(_cells(row) for row in rows)
        after = rows[-1]["seq"]


def _cells(row: asyncpg.Record) -> list[object]:
    # an empty reason is an empty cell; an empty id of the sender is not the same as none
    values = {**row, "body": body_cell(row["body"]), "reason": row["reason"] or None}
    return [values[name] for name in COLUMNS]


def body_cell(body: bytes) -> str:
    """Return a body as text, or as base64 where it is not text, is empty, or would be taken for base64."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text or text.startswith(BASE64):
        return BASE64 + base64.b64encode(body).decode()
    return text
