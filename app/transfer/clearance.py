"""Delete the signals that have ended, after all of them were dumped to a file that was read back.

The application has no `pg_dump`. Its dump is an export, which `/admin/database/import` can import as history.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from app.config.files import NotWrittenError
from app.db.pool import Pool
from app.errors import ConflictError, file_failure
from app.signals.refusals import RefusalCode
from app.transfer import export, importing, repository

_BATCH_SIZE = 500
_ANY_TIME = datetime(9990, 1, 1, tzinfo=UTC)  # rows stay readable after the clock was set back
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Cleared:
    """`dump` is the file on the host with the deleted signals. `kept` were attempted within the last hour.

    The rate limits count those. A later clearance or retention deletes them.
    """

    deleted: int
    kept: int
    dump: str


async def clear(pool: Pool, data_dir: Path) -> Cleared:
    """Dump the signals that have ended, then delete them in small batches.

    Raises:
        ConflictError: a signal is undelivered; nothing was deleted.
        NotWrittenError: the dump could not be written; nothing was deleted.
    """
    extent = await repository.fetch_extent(pool)
    if extent.undelivered:
        raise ConflictError(RefusalCode.UNDELIVERED, count=extent.undelivered)
    last_seq, at = extent.last_seq, extent.at
    path = data_dir / "exports" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-clear.csv"
    dumped = await _dump(export.pages(pool, last_seq, at), path)
    deleted = 0
    while batch := await repository.delete_ended(pool, last_seq=last_seq, ended_by=at, limit=_BATCH_SIZE):
        deleted += batch
    return Cleared(deleted, dumped - deleted, str(path))


async def _dump(pages: AsyncIterator[tuple[int, bytes]], path: Path) -> int:
    """Write the pages to a file, completely or not at all; return the number of rows."""
    partial = path.with_name(f"{path.name}.partial")
    file = await _on_disk(path, _new_file, partial)
    rows = 0
    try:
        with contextlib.closing(file):
            async for count, content in pages:
                rows += count
                await _on_disk(path, _write, file, content)
            await _on_disk(path, os.fsync, file.fileno())
        _compare(await _on_disk(path, _rows_in, partial), rows, partial)
        await _on_disk(path, partial.rename, path)
    except BaseException:  # also when the request is cancelled: a partial dump must not look complete
        partial.unlink(missing_ok=True)
        raise
    return rows


def _compare(found: int, written: int, path: Path) -> None:
    if found != written:
        raise NotWrittenError(RefusalCode.DUMP_SHORT, file=str(path), found=found, written=written)


async def _on_disk(path: Path, work: Callable[..., _Result], *arguments: object) -> _Result:
    """Run a step in a thread. An OSError is reported as an error of the disk, not of the database."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except OSError as error:
        why = file_failure(error)
        raise NotWrittenError(RefusalCode.DUMP_NOT_WRITTEN, file=str(path), why=why) from error


def _new_file(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)


def _write(file: BinaryIO, content: bytes) -> None:
    """Write all bytes: on an almost full disk, one call on an unbuffered file may write only some."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _rows_in(path: Path) -> int:
    """Count the rows that an import would accept: nothing is deleted unless all can be imported again."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return sum(1 for row in importing.read(file, _ANY_TIME) if row.past)
