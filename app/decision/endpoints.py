"""Reprocessing when a person asks for it (SPEC §13, §14). The guard has asked for the token before."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field

from app import actions, approvals
from app.admin.door import REFUSALS, Acting, Database, runtime_of, signed_in
from app.admin.reasons import told
from app.decision import reprocessing
from app.decision.reprocessing import Outcome

router = APIRouter(
    prefix="/admin/reprocessing", tags=["reprocessing"], responses=REFUSALS, dependencies=[signed_in]
)


def _trimmed_upper(ticker: object) -> object:
    return ticker.strip().upper() if isinstance(ticker, str) else ticker


_Ticker = Annotated[str, BeforeValidator(_trimmed_upper), Field(pattern=r"^[A-Z0-9.-]{1,20}$")]


class Trigger(BaseModel):
    """Which tickers to look at, null for the whole list; with `dry_run` nothing is approved, only counted."""

    tickers: Annotated[list[_Ticker], Field(min_length=1, max_length=500)] | None = None
    dry_run: bool = False


@router.post("/trigger")
async def trigger(request: Request, connection: Database, actor: Acting, wish: Trigger) -> Outcome:
    """Approve the newest rejected buy of each ticker that is in the list now, within the strategy's windows.

    Also where the strategy does not reprocess by itself. Each buy is approved once.
    """
    runtime = runtime_of(request)
    strategy = runtime.config.finviz.active_strategy
    async with connection.transaction():
        await approvals.own(connection)
        outcome = await reprocessing.reprocess(
            connection, runtime, strategy, wish.tickers, why="reprocessed by a person", dry_run=wish.dry_run
        )
        if not outcome.dry_run:
            approved = {signal.ticker: str(signal.signal_id) for signal in outcome.signals}
            await actions.record(
                connection, actor, "reprocessing.trigger", target=strategy.name, after={"approved": approved}
            )
    if not outcome.dry_run:
        reprocessing.tell(runtime, outcome)
    for skipped in outcome.skipped:
        skipped.reason = told(skipped.reason)
    return outcome
