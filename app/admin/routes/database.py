"""Routes to export, import and clear the signals."""

import io
import tempfile
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import datetime
from typing import Literal

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from app.admin.routes.records import CSV_RESPONSE, attachment
from app.admin.schemas import Status
from app.audit import repository as audit_log
from app.context import AppContext
from app.db.pool import Connection
from app.errors import RefusedError
from app.signals.refusals import RefusalCode
from app.transfer import clearance, export, importing, repository
from app.transfer.clearance import Cleared
from app.web.dependencies import REFUSALS, CurrentActor, context_of, signed_in
from app.web.problems import Invalid, Problem
from app.web.reasons import render
from app.web.routing import new_router

_IMPORT_BYTES = 64 * 1024 * 1024
_IN_MEMORY_BYTES = 4 * 1024 * 1024

router = new_router(prefix="/admin/database", tags=["database"], responses=REFUSALS, dependencies=[signed_in])


class TooLargeError(RefusedError):
    """The file is larger than allowed."""

    http_status = 413


class Contents(BaseModel):
    """The number of signals by status, the rows of other tables, and the size on the disk in bytes."""

    signals: dict[Status, int]
    oldest: datetime | None
    events: int
    attempts: int
    open_positions: int
    closed_positions: int
    refused_posts: int
    actions: int
    size_bytes: int


class BadRow(BaseModel):
    """A line of the file that was not imported, and why."""

    line: int
    reason: str


class Imported(BaseModel):
    """`present` existed already and are unchanged. `expired` of the imported were pending.

    `bad_rows` are the first 100 of the `bad`.
    """

    imported: int
    expired: int
    present: int
    bad: int
    bad_rows: list[BadRow]


class ClearOrder(BaseModel):
    """The word that a person types to confirm."""

    confirm: Literal["clear"]


@router.get("")
async def contents(request: Request) -> Contents:
    """The contents of the database."""

    async def read(connection: Connection) -> Contents:
        return Contents.model_validate(await repository.fetch_contents(connection), from_attributes=True)

    return await context_of(request).reading.compute("contents", read)


@router.post(
    "/export",
    response_class=StreamingResponse,
    responses=CSV_RESPONSE,
)
async def export_signals(request: Request, actor: CurrentActor) -> StreamingResponse:
    """All signals with their events and attempts as CSV, oldest first.

    No spreadsheet runs a formula from it. `import` reads the file.
    """
    context = context_of(request)
    async with context.reading.acquire(is_heavy=True) as connection:
        extent = await repository.fetch_extent(connection)
    await audit_log.record(context.pool, actor, "database.export")
    return attachment("signals", _content(context, extent.last_seq))


@router.post(
    "/import",
    responses={
        413: {"model": Problem, "description": "The file is too large: import it in parts"},
        422: {"model": Invalid, "description": "The file is not an export; nothing was imported"},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def import_signals(request: Request, actor: CurrentActor) -> Imported:
    """Import the signals of an export that do not exist yet, as history. They are never traded.

    A signal that was pending when it was exported becomes `expired`. A bad row does not affect the others.
    """
    context, action = context_of(request), "database.import"
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        async with audit_log.attempt(context.pool, actor, action):
            await _receive(request, spool)
            # incomplete characters are reported with their line, and do not fail the whole file
            text = io.TextIOWrapper(spool, encoding="utf-8-sig", errors="surrogateescape", newline="")
            result = await importing.import_csv(context.pool, text)
    answer = Imported(
        imported=result.imported,
        expired=result.expired,
        present=result.present,
        bad=result.bad,
        bad_rows=[BadRow(line=line, reason=render(reason)) for line, reason in result.listed],
    )
    await audit_log.record(context.pool, actor, action, after=answer.model_dump(exclude={"bad_rows"}))
    context.reading.forget()
    context.wakeups.notify("changed")
    return answer


@router.post(
    "/clear",
    responses={
        409: {"model": Problem, "description": "Signals are undelivered; nothing was deleted"},
        500: {"model": Problem, "description": "The dump cannot be written; nothing was deleted"},
    },
)
async def clear_signals(request: Request, actor: CurrentActor, _: ClearOrder) -> Cleared:
    """Delete the signals that have ended, after they were exported to `data/exports` and read back."""
    context, action = context_of(request), "database.clear"
    async with audit_log.attempt(context.pool, actor, action):
        cleared = await clearance.clear(context.pool, context.settings.data_dir)
    await audit_log.record(context.pool, actor, action, after=asdict(cleared))
    context.reading.forget()
    context.wakeups.notify("changed")
    return cleared


async def _content(context: AppContext, last_seq: int) -> AsyncIterator[bytes]:
    async for _, content in export.pages(context.reading, last_seq):
        yield content


async def _receive(request: Request, spool: "tempfile.SpooledTemporaryFile[bytes]") -> None:
    async for chunk in request.stream():
        if spool.tell() + len(chunk) > _IMPORT_BYTES:
            raise TooLargeError(RefusalCode.FILE_TOO_LARGE, bytes=_IMPORT_BYTES)
        spool.write(chunk)
    spool.seek(0)
