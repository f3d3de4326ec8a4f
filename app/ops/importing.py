"""Takes an exported file back, a few lines at a time; a wrong line keeps no other one out (SPEC §14)."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from app.db.pool import Pool
from app.errors import RefusedError
from app.ops import history, spreadsheet
from app.ops.history import Past

if TYPE_CHECKING:
    from _csv import Reader

_BATCH = 200
_BAD_LISTED = 100


class NoExportError(RefusedError):
    """The file's first line is not an export's; nothing was imported."""


@dataclass(slots=True)
class Result:
    """`present` were there already; `expired`, of the imported, had not ended; `listed`: the first bad."""

    imported: int = 0
    expired: int = 0
    present: int = 0
    bad: int = 0
    listed: list[tuple[int, str]] = field(default_factory=list)


async def take(pool: Pool, file: TextIO) -> Result:
    """Import the signals that are not there yet; each batch is committed by itself.

    Raises:
        NoExportError: the header lacks a column.
    """
    result = Result()
    batch: list[Past] = []
    for past in _signals(file, result):
        batch.append(past)
        if len(batch) == _BATCH:
            await _keep(pool, batch, result)
            batch = []
    await _keep(pool, batch, result)
    return result


async def _keep(pool: Pool, batch: list[Past], result: Result) -> None:
    if not batch:
        return
    async with pool.acquire(timeout=5) as connection:
        new = await history.keep(connection, batch)
    result.imported += len(new)
    result.present += len(batch) - len(new)
    result.expired += len({past.id for past in batch if past.was_unfinished} & new)


def _signals(file: TextIO, result: Result) -> Iterator[Past]:
    """Read line by line; a bad one is noted in the result."""
    reader = spreadsheet.read(file)
    now = datetime.now(UTC)
    header = _header(reader)
    missing = [name for name in history.REQUIRED if name not in header]
    if missing:
        names = ", ".join(missing)
        raise NoExportError(f"the first line names no column {names}: is this an export of signals?")
    while True:
        try:
            cells = next(reader, None)
            past = None if cells is None else history.read(_named(header, cells), now)
        except (ValueError, csv.Error) as error:
            result.bad += 1
            if len(result.listed) < _BAD_LISTED:
                result.listed.append((reader.line_num, str(error)))
            continue
        if past is None:
            return
        yield past


def _header(reader: "Reader") -> list[str]:
    try:
        return next(reader, [])
    except csv.Error as error:
        raise NoExportError(f"the first line is no CSV ({error}): is this an export of signals?") from error


def _named(header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise ValueError(f"has {len(cells)} cells, and the first line {len(header)}")
    return dict(zip(header, cells, strict=True))
