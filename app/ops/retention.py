"""Removes what is older than `retention_days`, in small batches."""

import asyncio

import structlog

from app.context import AppContext
from app.db.pool import Pool
from app.db.queries import load

log = structlog.get_logger(__name__)

_SQL = load("app.ops", "retention")
_BATCH = 500
_NEXT_BATCH_SECONDS, _LOOK_AGAIN_SECONDS = 0.5, 20.0


async def run(context: AppContext, name: str) -> None:
    """Sweep: a batch every half a second while there is much, and a look every 20 s else.

    Several processes may sweep at the same time; each row goes once.
    """
    while True:
        context.supervisor.beat(name)
        removed = await sweep(context.pool, context.config.system.retention_days)
        if removed:
            log.info("retention", **removed)
            context.wakeups.notify("changed")
        full = max(removed.values(), default=0) >= _BATCH
        await asyncio.sleep(_NEXT_BATCH_SECONDS if full else _LOOK_AGAIN_SECONDS)


async def sweep(pool: Pool, days: int) -> dict[str, int]:
    """Remove one batch of each kind; return how many rows of which went."""
    removed = {}
    for kind, statement in _SQL.items():
        status = await pool.execute(statement, days, _BATCH)
        removed[kind] = int(status.rpartition(" ")[2])
    return {kind: rows for kind, rows in removed.items() if rows}
