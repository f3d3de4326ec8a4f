"""The active strategy's current Top-N list, as people, alarms and live updates see it."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app.context import AppContext
from app.db.pool import Connection
from app.screener import repository
from app.signals.reasons import Reason


class TopN(BaseModel):
    """The current Top-N list, rank 1 first. Before the first fetch `last_update` is null; it is not fresh.

    `error` says why the latest refresh failed, empty if it did not.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        json_schema_serialization_defaults_required=True,  # an answer has them all
    )

    strategy: str | None = None
    source: str | None = None
    tickers: list[str] = []
    last_update: datetime | None = None
    age_seconds: float | None = None
    max_age_seconds: int | None = None
    fresh: bool = False
    error: str = ""
    failure: Reason | None = Field(default=None, exclude=True)  # the same as a code


async def current_top_n(context: AppContext, connection: Connection) -> TopN:
    """Return the active strategy's current list, or an empty list that is not fresh."""
    strategy = context.config.finviz.active_strategy
    found = await repository.current_list(connection, strategy=strategy.name)
    if found is None:
        failure = await repository.last_error(connection, strategy=strategy.name)
        return TopN(strategy=strategy.name, error=str(failure or ""), failure=failure)
    return TopN(
        strategy=found.strategy,
        source=found.source,
        tickers=list(found.tickers),
        last_update=found.fetched_at,
        age_seconds=round(found.age_seconds, 1),
        max_age_seconds=found.max_age_seconds,
        fresh=found.is_fresh or context.config.system.engine_paused,  # frozen on purpose
        error=str(found.error or ""),
        failure=found.error,
    )
