"""The snapshot that the page header shows: for `/admin/status`, the first rendering and live updates."""

import asyncio
import time

from pydantic import BaseModel

from app.admin import repository
from app.admin.schemas import (
    Changes,
    DeniedRequests,
    Destination,
    DestinationStatus,
    Metrics,
    PositionsSummary,
    ProcessStatus,
)
from app.alarms.alarm import Alarm
from app.alarms.conditions import find_alarms, shorten
from app.context import AppContext
from app.orders.destination_state import describe_destination
from app.runtime.denials import Denials
from app.screener.current import TopN, current_top_n

_LIMIT_SECONDS = 5.0


class Overview(BaseModel):
    """The snapshot that a page starts from. The live messages carry its parts."""

    status: ProcessStatus
    metrics: Metrics
    top_n: TopN
    positions: PositionsSummary
    changes: Changes
    refused: list[DeniedRequests]
    alarms: list[Alarm]


async def look(context: AppContext) -> Overview:
    """Read the snapshot on one connection.

    Raises:
        TRANSIENT_DB_ERRORS: the database is unavailable, or does not answer within 5 s.
    """
    async with asyncio.timeout(_LIMIT_SECONDS), context.reading.acquire() as connection:
        metrics = await repository.fetch_metrics(connection)
        positions = await repository.fetch_positions_summary(connection)
        changes = await repository.fetch_changes(connection)
        top_n = await current_top_n(context, connection)
        alarms = await find_alarms(context, connection, top_n=top_n, waiting=metrics.approved_queue)
    return Overview(
        status=ProcessStatus(
            version=context.settings.app_version,
            engine_paused=context.config.system.engine_paused,
            buys_paused=context.config.system.buys_paused,
            delivery_paused=context.config.system.delivery_paused,
            intake_paused=context.config.system.intake_paused,
            uptime_seconds=round(time.monotonic() - context.started_at, 1),
            at=context.clock.now(),
            mode="live" if context.config.is_live else "paper",
            destination=Destination(**describe_destination(context)),
            destinations=[
                DestinationStatus(name=each.name, **describe_destination(context, each.name))
                for each in context.config.destinations
            ],
            top_n_count=len(top_n.tickers),
            top_n_age_seconds=top_n.age_seconds,
            top_n_fresh=top_n.fresh,
        ),
        metrics=metrics,
        top_n=top_n,
        positions=positions,
        changes=changes,
        refused=denied(context.denials),
        alarms=shorten(alarms),
    )


def denied(denials: Denials) -> list[DeniedRequests]:
    """Return recent requests that were denied, by kind."""
    episodes = denials.episodes().values()
    return [DeniedRequests.model_validate(found, from_attributes=True) for found in episodes]
