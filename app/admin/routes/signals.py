"""Routes for the status, the Top-N list, and the signals with their timelines."""

import json
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import HTTPException, Path, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from app.admin import repository, snapshot
from app.admin.routes.records import CSV_RESPONSE, attachment
from app.admin.schemas import SignalPage, Status, Story
from app.admin.snapshot import Overview
from app.admin.waiting import add_waits
from app.audit import repository as audit_log
from app.db.reading import ReadingPool
from app.intake.service import Envelope, IntakeService, PostRefusedError
from app.screener.current import TopN, current_top_n
from app.signals.selection import SignalFilter
from app.transfer import spreadsheet
from app.web.authentication import client_address
from app.web.dependencies import (
    REFUSALS,
    CurrentActor,
    Cursor,
    Limit,
    Reading,
    WantedSignals,
    context_of,
    signed_in,
)
from app.web.problems import Problem
from app.web.reasons import render
from app.web.routing import new_router
from app.web.texts import text

_EXPORT_PAGE_ROWS = 500
COLUMNS = (
    "received_at",
    "ticker",
    "type",
    "intent",
    "quantity",
    "quantity_unit",
    "price",
    "source",
    "status",
    "reason",
    "status_at",
    "attempts",
    "round",
    "sender_signal_id",
    "id",
)

Statuses = Annotated[list[Status] | None, Query(description="Only these statuses; may be repeated")]

router = new_router(prefix="/admin", tags=["admin"], responses=REFUSALS, dependencies=[signed_in])


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
    wanted: WantedSignals,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Statuses = None,
) -> SignalPage:
    """Signals, newest first; imported history follows those that came here."""
    filtered = wanted._replace(statuses=tuple(status or ()))
    return await repository.fetch_signals(connection, wanted=filtered, before_seq=cursor, limit=limit)


@router.get("/signals/export", response_class=StreamingResponse, responses=CSV_RESPONSE)
async def export_signal_list(
    request: Request, wanted: WantedSignals, status: Statuses = None
) -> StreamingResponse:
    """The signals of a filter as CSV, newest first. A spreadsheet reads no cell as a formula."""
    pool, filtered = context_of(request).reading, wanted._replace(statuses=tuple(status or ()))
    # before the response begins, so that a failure is answered with its status
    newest = await repository.fetch_signals(pool, wanted=filtered, before_seq=None, limit=_EXPORT_PAGE_ROWS)
    return attachment("signals", _lines(pool, filtered, newest))


async def _lines(pool: ReadingPool, wanted: SignalFilter, page: SignalPage) -> AsyncIterator[bytes]:
    """Yield the CSV file: the header, the newest page, then all older ones."""
    yield spreadsheet.SIGNATURE + spreadsheet.lines([COLUMNS])
    while True:
        yield spreadsheet.lines(
            [None if (cell := getattr(signal, name)) == "" else cell for name in COLUMNS]
            for signal in page.signals
        )
        if page.next_cursor is None:
            return
        page = await repository.fetch_signals(
            pool, wanted=wanted, before_seq=page.next_cursor, limit=_EXPORT_PAGE_ROWS
        )


@router.get("/signals/{signal_id}", responses={404: {"model": Problem, "description": "No such signal"}})
async def signal_story(request: Request, connection: Reading, signal_id: Annotated[UUID, Path()]) -> Story:
    """The timeline of one signal: the alert, each change, each delivery attempt, and why it waits now."""
    found = await repository.fetch_timeline(connection, signal_id=signal_id)
    if found is None:
        raise HTTPException(404, text("story.missing"))
    return await add_waits(context_of(request), connection, found)


class PostedSignal(BaseModel):
    """The test signal that was posted."""

    signal_id: UUID
    ticker: str


@router.post(
    "/test-signal",
    responses={409: {"model": Problem, "description": "There is no Top-N list that a buy could be in"}},
)
async def send_test_signal(request: Request, connection: Reading, actor: CurrentActor) -> PostedSignal:
    """Post a buy of the first ticker of the list, as a sender would. A live destination may execute it."""
    context = context_of(request)
    top_n = await current_top_n(context, connection)
    if not top_n.tickers:
        raise HTTPException(409, text("first.test.no_list"))
    alert = {"ticker": top_n.tickers[0], "action": "buy", "signal_id": f"test-{uuid4()}"}
    intake: IntakeService = request.app.state.intake
    secret = context.settings.webhook_secret.encode()
    envelope = Envelope((secret,) if secret else (), "", "", "", client_address(request))
    try:
        accepted = await intake.accept(json.dumps(alert).encode(), envelope)
    except PostRefusedError as error:
        raise HTTPException(error.status, render(error.reason)) from error
    after = {"signal_id": str(accepted.signal_id), "ticker": accepted.ticker}
    await audit_log.record(context.pool, actor, "intake.test_signal", after=after)
    return PostedSignal(signal_id=accepted.signal_id, ticker=accepted.ticker)


class RevealedSecret(BaseModel):
    """WEBHOOK_SECRET, with which the source `default` posts; empty if none is set."""

    secret: str


@router.post("/webhook-secret/reveal")
async def reveal_webhook_secret(request: Request, actor: CurrentActor) -> RevealedSecret:
    """Show WEBHOOK_SECRET to a person who sets up alerts. The actions log says who asked, not the secret."""
    context = context_of(request)
    await audit_log.record(context.pool, actor, "intake.reveal_secret")
    return RevealedSecret(secret=context.settings.webhook_secret)
