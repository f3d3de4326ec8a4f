"""Route that requests a refresh of the active strategy's list."""

from datetime import datetime

from fastapi import Request
from pydantic import BaseModel

from app.audit import repository as audit_log
from app.errors import ConflictError
from app.screener import repository
from app.signals.refusals import RefusalCode
from app.web.dependencies import REFUSALS, CurrentActor, Database, context_of, signed_in
from app.web.problems import Problem
from app.web.routing import new_router

router = new_router(prefix="/admin/engine", tags=["screener"], responses=REFUSALS, dependencies=[signed_in])


class RefreshAsked(BaseModel):
    """A requested refresh. Another process may make it; `/admin/top-n-tickers` shows how it ended."""

    strategy: str
    requested_at: datetime


@router.post(
    "/manual-refresh",
    status_code=202,
    responses={409: {"model": Problem, "description": "The engine is paused"}},
)
async def manual_refresh(request: Request, connection: Database, actor: CurrentActor) -> RefreshAsked:
    """Refresh the active strategy's list now. The rate limit of its site still holds."""
    config = context_of(request).config
    strategy = config.finviz.active_strategy
    action, target = "engine.manual-refresh", strategy.name
    async with audit_log.attempt(connection, actor, action, target=target), connection.transaction():
        if config.system.engine_paused:
            raise ConflictError(RefusalCode.ENGINE_PAUSED)
        requested_at = await repository.request_refresh(connection, strategy=target)
        await audit_log.record(connection, actor, action, target=target)
    return RefreshAsked(strategy=strategy.name, requested_at=requested_at)
