"""The JSON API of `/admin` (SPEC §14). The guard has asked for the token before any of this runs."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.security import HTTPBearer
from pydantic import BeforeValidator

from app.admin import overview, reading
from app.admin.overview import Overview
from app.admin.schemas import Problem, SignalPage, Status, Story, TopN
from app.admin.texts import text
from app.db.pool import Connection
from app.runtime import Runtime

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No token, or a wrong one"},
    503: {"model": Problem, "description": "The database does not answer"},
}
# Only so that /openapi.json says how to sign in: the guard does the asking.
signed_in = Depends(HTTPBearer(auto_error=False, description="ADMIN_TOKEN"))

router = APIRouter(prefix="/admin", tags=["admin"], responses=REFUSALS, dependencies=[signed_in])

Ticker = Annotated[
    str,
    BeforeValidator(lambda ticker: ticker.strip().upper()),
    Query(
        pattern=r"^[A-Z0-9.-]{1,20}$",
        description="only this ticker; case and blanks at the ends do not count",
    ),
]


def runtime_of(request: Request) -> Runtime:
    """The process's shared state."""
    runtime: Runtime = request.app.state.runtime
    return runtime


async def database(request: Request) -> AsyncIterator[Connection]:
    """A connection for the length of the request."""
    async with runtime_of(request).pool.acquire(timeout=5) as connection:
        yield connection


Database = Annotated[Connection, Depends(database)]


@router.get("/status")
async def status(request: Request) -> Overview:
    """Everything the page's head shows: version, destination, Top-N, counts, queues, alarms."""
    return await overview.look(runtime_of(request))


@router.get("/top-n-tickers")
async def top_n_tickers(request: Request, connection: Database) -> TopN:
    """The screener's list in force, in rank order."""
    return await overview.current_top_n(runtime_of(request), connection)


@router.get("/signals")
async def signals(
    connection: Database,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[
        int | None, Query(ge=1, le=2**63 - 1, description="`next_cursor` of the page before")
    ] = None,
    status: Status | None = None,
    ticker: Ticker | None = None,
) -> SignalPage:
    """Signals, newest first."""
    return await reading.signal_page(connection, limit=limit, cursor=cursor, status=status, ticker=ticker)


@router.get("/signals/{signal_id}", responses={404: {"model": Problem, "description": "No such signal"}})
async def signal_story(connection: Database, signal_id: Annotated[UUID, Path()]) -> Story:
    """One signal: what it was, every change with its reason, every delivery attempt."""
    found = await reading.story(connection, signal_id)
    if found is None:
        raise HTTPException(404, text("story.missing"))
    return found
