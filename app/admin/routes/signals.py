"""Routes for the status, the Top-N list, and the signals with their timelines."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Path, Request

from app.admin import repository, snapshot
from app.admin.schemas import SignalPage, Status, Story
from app.admin.snapshot import Overview
from app.screener.current import TopN, current_top_n
from app.web.dependencies import (
    REFUSALS,
    Cursor,
    Limit,
    Reading,
    SourceName,
    Ticker,
    context_of,
    signed_in,
)
from app.web.problems import Problem
from app.web.texts import text

router = APIRouter(prefix="/admin", tags=["admin"], responses=REFUSALS, dependencies=[signed_in])


@router.get("/status")
async def status(request: Request) -> Overview:
    """Everything that the page's head shows: version, destination, Top-N, counts, queues, alarms."""
    return await snapshot.look(context_of(request))


@router.get("/top-n-tickers")
async def top_n_tickers(request: Request, connection: Reading) -> TopN:
    """The current Top-N list, in rank order."""
    return await current_top_n(context_of(request), connection)


@router.get("/signals")
async def signals(
    connection: Reading,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Status | None = None,
    ticker: Ticker | None = None,
    source: SourceName | None = None,
) -> SignalPage:
    """Signals, newest first."""
    return await repository.fetch_signals(
        connection, before_seq=cursor, status=status, ticker=ticker, source=source, limit=limit
    )


@router.get("/signals/{signal_id}", responses={404: {"model": Problem, "description": "No such signal"}})
async def signal_story(connection: Reading, signal_id: Annotated[UUID, Path()]) -> Story:
    """The timeline of one signal: the alert, every change with its reason, every delivery attempt."""
    found = await repository.fetch_timeline(connection, signal_id=signal_id)
    if found is None:
        raise HTTPException(404, text("story.missing"))
    return found
