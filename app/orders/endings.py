"""Reject signals and orders that have not left, and log and count them.

These are buys that an exit overtakes, buys that a person or a risk rule ends, and sells whose buy was not
delivered.
"""

from collections.abc import Sequence
from uuid import UUID

import structlog

from app import metrics
from app.context import AppContext
from app.db.pool import Connection
from app.orders import endings_repository
from app.orders.endings_repository import EndedSignal
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import DecisionResult

log = structlog.get_logger(__name__)


async def reject_orphans(
    context: AppContext, connection: Connection, tickers: list[str], destination: str
) -> None:
    """Reject the sells that wait for a buy of these tickers which ended undelivered at this destination.

    Where exits without a position are forwarded they stay.
    """
    if tickers and context.config.system.unmatched_exits == "reject":
        _note_ended(
            await endings_repository.reject_orphans(connection, tickers=tickers, destination=destination)
        )


async def end_overtaken(connection: Connection, ids: Sequence[UUID], destination: str | None = None) -> None:
    """End entries that have not left for this destination (None: any): an exit has overtaken them."""
    if ids:
        why = Reason(ReasonCode.OVERTAKEN)
        _note_ended(
            await endings_repository.end_entries(connection, ids=ids, reason=why, destination=destination)
        )


async def end_unlocked_entries(connection: Connection, why: Reason, *, until_seq: int | None = None) -> int:
    """End the entries, up to the signal `until_seq`, that have not left and are not locked; say how many."""
    ended = await endings_repository.end_unlocked_entries(connection, reason=why, until_seq=until_seq)
    _note_ended(ended)
    return len(ended)


def _note_ended(signals: Sequence[EndedSignal]) -> None:
    metrics.SIGNALS_DECIDED.labels(DecisionResult.REJECTED).inc(len({signal.id for signal in signals}))
    for signal in signals:
        log.info(
            "rejected",
            signal_id=signal.id,
            ticker=signal.ticker,
            destination=signal.destination,
            reason=signal.reason,
        )
