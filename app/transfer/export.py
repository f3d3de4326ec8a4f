"""Signals with their timelines as CSV, read in pages: no long transaction, little memory."""

import base64
from collections.abc import AsyncIterator
from datetime import datetime

from app.db.pool import Pool
from app.db.reading import ReadingPool
from app.transfer import repository, spreadsheet
from app.transfer.repository import ExportRow

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
    "source",
    "imported_at",  # shows the import by which rules the cells are neutralised
    "orders",
)
BASE64 = "base64:"  # prefix of a body that is not text, or that begins with this prefix itself

_PAGE_ROWS = 200


async def pages(
    pool: Pool | ReadingPool, last_seq: int, ended_by: datetime | None = None
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield `(rows, CSV)` up to `last_seq`, the header first; with `ended_by` only signals ended by then."""
    yield 0, spreadsheet.SIGNATURE + spreadsheet.lines([COLUMNS])
    after = 0
    while rows := await repository.fetch_export_page(
        pool, after_seq=after, last_seq=last_seq, limit=_PAGE_ROWS, ended_by=ended_by
    ):
        yield len(rows), spreadsheet.lines(_cells(row) for row in rows)
        after = rows[-1].seq


def _cells(row: ExportRow) -> list[object]:
    # an empty reason is an empty cell; an empty id of the sender differs from no id
    values = {**row._asdict(), "body": body_cell(row.body), "reason": row.reason or None}
    return [values[name] for name in COLUMNS]


def body_cell(body: bytes) -> str:
    """Return a body as text, or as base64 if it is not text, is empty, or looks like base64 itself."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or "\0" in text or text.startswith(BASE64):
        return BASE64 + base64.b64encode(body).decode()
    return text
