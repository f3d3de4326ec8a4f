"""Import an exported file in batches; a bad row does not affect the other rows."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TextIO
from uuid import UUID

import asyncpg

from app.db.clock import read_time
from app.db.errors import is_about_rows
from app.db.pool import Connection, Pool
from app.errors import RefusedError, WrongValueError
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.transfer import history, repository, spreadsheet
from app.transfer.history import Past

_BATCH = 200
_BATCH_CHARACTERS = 4 * 1024 * 1024
_BAD_LISTED = 100


class NoExportError(RefusedError):
    """The file's first line is not the header of an export; nothing was imported."""

    http_status = 422


@dataclass(slots=True)
class Result:
    """`present` existed already; `expired` of the imported were pending; `listed` are the first bad rows."""

    imported: int = 0
    expired: int = 0
    present: int = 0
    bad: int = 0
    listed: list[tuple[int, Reason]] = field(default_factory=list)

    def note(self, line: int, reason: Reason) -> None:
        """Count a bad row, and list it while there is room."""
        self.bad += 1
        if len(self.listed) < _BAD_LISTED:
            self.listed.append((line, reason))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the file by the number of its first line: a signal, or the reason why it is bad."""

    line: int
    size: int
    past: Past | None
    reason: Reason | None = None


async def import_csv(pool: Pool, file: TextIO) -> Result:
    """Import the signals that do not exist yet; each batch is a transaction.

    Batches are read in a thread, so the event loop is not blocked and memory stays bounded.

    Raises:
        NoExportError: the header lacks a column.
    """
    result = Result()
    found = await asyncio.to_thread(read, file, await read_time(pool))
    while rows := await asyncio.to_thread(_batch, found):
        signals = []
        for row in rows:
            if row.reason:
                result.note(row.line, row.reason)
            elif row.past:
                signals.append((row.line, row.past))
        await store(pool, signals, result)
    return result


def read(file: TextIO, now: datetime) -> Iterator[Row]:
    """Read the header and return an iterator over the rows. `now` is the time on the database's clock.

    Raises:
        NoExportError: the header lacks a column.
    """
    records = spreadsheet.Records(file)
    header = next(records, None)
    if header is None or header.reason:
        raise NoExportError(RefusalCode.NO_CSV)
    missing = [name for name in history.REQUIRED if name not in header.cells]
    if missing:
        raise NoExportError(RefusalCode.NO_EXPORT, names=", ".join(missing))
    if len(set(header.cells)) < len(header.cells):
        raise NoExportError(RefusalCode.COLUMN_TWICE)
    # versions without the column `imported_at` neutralised cells by other rules
    restored = spreadsheet.restored if "imported_at" in header.cells else spreadsheet.restored_from_before
    return (_row(header.cells, record, restored, now) for record in records)


def _row(header: list[str], record: spreadsheet.Record, restored: Callable[[str], str], now: datetime) -> Row:
    size = sum(map(len, record.cells))
    if record.reason:
        return Row(record.line, size, None, record.reason)
    try:
        return Row(record.line, size, history.read(_named(header, record.cells, restored), now))
    except WrongValueError as error:
        return Row(record.line, size, None, error.reason)


def _named(header: list[str], cells: list[str], restored: Callable[[str], str]) -> dict[str, str | None]:
    if len(cells) != len(header):
        raise WrongValueError(RefusalCode.CELLS, found=len(cells), expected=len(header))
    return {name: restored(cell) if cell else None for name, cell in zip(header, cells, strict=True)}


def _batch(found: Iterator[Row]) -> list[Row]:
    rows: list[Row] = []
    size = 0
    for row in found:
        rows.append(row)
        size += row.size
        if len(rows) == _BATCH or size > _BATCH_CHARACTERS:
            break
    return rows


async def store(pool: Pool, signals: list[tuple[int, Past]], result: Result) -> None:
    """Store the signals of a batch; a signal that PostgreSQL refuses is noted with its line."""
    if not signals:
        return
    try:
        async with pool.acquire(timeout=5) as connection:
            new = await _insert(connection, [past for _, past in signals])
    except asyncpg.PostgresError as error:
        if not is_about_rows(error):
            raise
        if len(signals) == 1:
            result.note(signals[0][0], Reason(RefusalCode.NOT_STORABLE))
            return
        for signal in signals:
            await store(pool, [signal], result)
        return
    result.imported += len(new)
    result.present += len(signals) - len(new)
    result.expired += len({past.signal.id for _, past in signals if past.was_unfinished} & new)


async def _insert(connection: Connection, signals: Sequence[Past]) -> set[UUID]:
    """Insert the signals that do not exist yet, with timelines, in one transaction; return their ids."""
    async with connection.transaction():
        new = await repository.insert_signals(connection, [past.signal for past in signals])
        # of signals with the same id the first one was inserted
        stored = {past.signal.id: past for past in reversed(signals) if past.signal.id in new}.values()
        await repository.insert_events(connection, [event for past in stored for event in past.events])
        await repository.insert_attempts(
            connection, [attempt for past in stored for attempt in past.attempts]
        )
        await repository.insert_orders(
            connection, signals=list(new), orders=[order for past in stored for order in past.orders]
        )
    return new
