"""HTTP routes of the dead letters."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field

from app.audit import repository as audit_log
from app.orders import replay
from app.orders.dead_letters_repository import DeadStatus
from app.orders.replay import Choice, DeadLetterPage, Replay
from app.signals.selection import SEARCH_LENGTH, Side, SignalFilter
from app.signals.statuses import Outcome
from app.signals.tickers import fold
from app.web.dependencies import (
    REFUSALS,
    CurrentActor,
    Cursor,
    Database,
    Limit,
    Moment,
    Reading,
    Storable,
    TypedTicker,
    WantedSignals,
    context_of,
    signed_in,
)
from app.web.problems import Problem
from app.web.routing import new_router

router = new_router(
    prefix="/admin/dead-letters", tags=["dead letters"], responses=REFUSALS, dependencies=[signed_in]
)


class ReplayRequest(BaseModel):
    """Which dead letters to send again: by default all, at most the oldest 500.

    The filter is that of `GET /admin/dead-letters`. `destination` is a name: what was not delivered there is
    sent again, and only there. `unknown` false leaves out entries of unknown outcome,
    which the destination may have executed; exits are never left out by it.
    `confirm` is the count that a request without it returned. Nothing is sent without it.
    """

    # The schema's published name: generated clients use it, so the OpenAPI document keeps it.
    __qualname__ = "Wish"
    model_config = ConfigDict(title="Wish", populate_by_name=True)

    ids: Annotated[list[UUID], Field(min_length=1, max_length=replay.MOST_AT_ONCE)] | None = None
    status: DeadStatus | None = None
    ticker: TypedTicker | None = None
    q: Annotated[str, Field(max_length=SEARCH_LENGTH), Storable] | None = None
    start: Annotated[Moment | None, Field(alias="from")] = None
    end: Annotated[Moment | None, Field(alias="to")] = None
    side: Side | None = None
    source: Annotated[str, Field(min_length=1, max_length=40), Storable] | None = None
    outcome: Outcome | None = None
    destination: Annotated[str, Field(min_length=1, max_length=40), Storable] | None = None
    unknown: bool = True
    confirm: Annotated[int, Field(ge=0, le=replay.MOST_AT_ONCE)] | None = None


@router.get("")
async def dead_letters(
    connection: Reading,
    wanted: WantedSignals,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: Annotated[list[DeadStatus] | None, Query()] = None,
) -> DeadLetterPage:
    """Failed and expired signals, newest first."""
    filtered = wanted._replace(statuses=tuple(status or ()))
    return await replay.page(connection, wanted=filtered, limit=limit, cursor=cursor)


@router.post(
    "/replay",
    responses={
        409: {
            "model": Problem,
            "description": "The count is not what was confirmed, or no destination takes what was selected",
        }
    },
)
async def replay_dead_letters(
    request: Request, connection: Database, actor: CurrentActor, asked: ReplayRequest
) -> Replay:
    """Count the selected dead letters. With that count in `confirm`, send them again."""
    context = context_of(request)
    wanted = SignalFilter(
        statuses=(asked.status,) if asked.status else (),
        ticker=fold(asked.ticker) if asked.ticker else None,
        source=asked.source,
        search=asked.q,
        start=asked.start,
        end=asked.end,
        side=asked.side,
        outcome=asked.outcome,
        destination=asked.destination,
    )
    choice = Choice(asked.ids, wanted, asked.unknown, asked.destination)
    action = "dead-letters.replay"
    before = asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    async with audit_log.attempt(connection, actor, action, before=before), connection.transaction():
        answer = await replay.replay(
            connection,
            choice,
            asked.confirm,
            context.config.webhook.max_signal_age_seconds,
            destinations=context.config.destinations,
            is_buying=not context.config.system.buys_paused,
        )
        if answer.replayed:
            after = {"replayed": answer.replayed}
            await audit_log.record(connection, actor, action, before=before, after=after)
    if answer.replayed:
        context.wakeups.notify("approved", "changed")
    return answer
