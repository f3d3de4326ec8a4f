"""HTTP routes of the dead letters."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app.audit import repository as audit_log
from app.orders import replay
from app.orders.replay import Choice, DeadLetterPage, Replay
from app.orders.repository import DeadStatus
from app.signals.tickers import fold
from app.web.dependencies import (
    REFUSALS,
    CurrentActor,
    Cursor,
    Database,
    Limit,
    Reading,
    Ticker,
    TypedTicker,
    context_of,
    signed_in,
)
from app.web.problems import Problem

router = APIRouter(
    prefix="/admin/dead-letters", tags=["dead letters"], responses=REFUSALS, dependencies=[signed_in]
)


class ReplayRequest(BaseModel):
    """Which dead letters to send again: by default all, at most the oldest 500.

    `confirm` is the count that a request without it returned. Nothing is sent without it.
    """

    # The schema's published name: generated clients use it, so the OpenAPI document keeps it.
    __qualname__ = "Wish"
    model_config = ConfigDict(title="Wish")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=replay.MOST_AT_ONCE)] | None = None
    status: DeadStatus | None = None
    ticker: TypedTicker | None = None
    confirm: Annotated[int, Field(ge=0, le=replay.MOST_AT_ONCE)] | None = None


@router.get("")
async def dead_letters(
    connection: Reading,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: DeadStatus | None = None,
    ticker: Ticker | None = None,
) -> DeadLetterPage:
    """Failed and expired signals, newest first."""
    return await replay.page(connection, limit=limit, cursor=cursor, status=status, ticker=ticker)


@router.post(
    "/replay", responses={409: {"model": Problem, "description": "The count is not what was confirmed"}}
)
async def replay_dead_letters(
    request: Request, connection: Database, actor: CurrentActor, asked: ReplayRequest
) -> Replay:
    """Count the selected dead letters. With that count in `confirm`, send them again."""
    context = context_of(request)
    choice = Choice(asked.ids, asked.status, fold(asked.ticker) if asked.ticker else None)
    action, before = "dead-letters.replay", asked.model_dump(mode="json", exclude_none=True)
    async with audit_log.attempt(connection, actor, action, before=before), connection.transaction():
        answer = await replay.replay(
            connection,
            choice,
            asked.confirm,
            context.config.webhook.max_signal_age_seconds,
            is_buying=not context.config.system.buys_paused,
        )
        if answer.replayed:
            after = {"replayed": answer.replayed}
            await audit_log.record(connection, actor, action, before=before, after=after)
    if answer.replayed:
        context.wakeups.notify("approved", "changed")
    return answer
