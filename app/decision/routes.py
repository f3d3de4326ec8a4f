"""The route that starts reprocessing by hand.

Names and docstrings of models and routes are part of `/openapi.json`.
"""

from typing import Annotated

from fastapi import Request
from pydantic import BaseModel, Field

from app.audit import repository as audit_log
from app.decision import reprocessing
from app.decision.reprocessing import ReprocessingResult
from app.orders.repository import lock_approvals_exclusive
from app.signals.reasons import ReasonCode
from app.web.dependencies import REFUSALS, CurrentActor, Database, TypedTicker, context_of, signed_in
from app.web.routing import new_router

router = new_router(
    prefix="/admin/reprocessing", tags=["reprocessing"], responses=REFUSALS, dependencies=[signed_in]
)


class Trigger(BaseModel):
    """Which tickers to reprocess, null for the whole list. With `dry_run` they are only counted."""

    tickers: Annotated[list[TypedTicker], Field(min_length=1, max_length=500)] | None = None
    dry_run: bool = False


@router.post("/trigger")
async def trigger(
    request: Request, connection: Database, actor: CurrentActor, body: Trigger
) -> ReprocessingResult:
    """Approve the newest rejected buy of each ticker in the current list, within the strategy's windows.

    This also works while automatic reprocessing is off. Each buy is approved at most once.
    """
    context = context_of(request)
    strategy = context.config.finviz.active_strategy
    async with connection.transaction():
        await lock_approvals_exclusive(connection)
        outcome = await reprocessing.reprocess(
            connection, context, strategy, body.tickers, why=ReasonCode.REPROCESSED, dry_run=body.dry_run
        )
        if not outcome.dry_run:
            approved = {signal.ticker: str(signal.signal_id) for signal in outcome.signals}
            await audit_log.record(
                connection, actor, "reprocessing.trigger", target=strategy.name, after={"approved": approved}
            )
    if not outcome.dry_run:
        reprocessing.announce(context, outcome)
    return outcome
