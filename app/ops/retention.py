"""Delete what is older than `retention_days`, in small batches."""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from app.context import AppContext
from app.db.pool import Pool
from app.ops import repository

log = structlog.get_logger(__name__)

_BATCH_SIZE = 500
_BATCH_PAUSE_SECONDS, _IDLE_PAUSE_SECONDS = 0.5, 20.0


async def run(context: AppContext, name: str) -> None:
    """Delete a batch of each kind every 0.5 s while one was full, else every 20 s.

    Several processes may do so at the same time: each row is deleted and counted once.
    """
    beat = partial(context.supervisor.beat, name)
    while True:
        beat()
        removed = await sweep(context.pool, context.config.system.retention_days, beat=beat)
        if removed:
            log.info("retention", **removed)
            context.wakeups.notify("changed")
        is_full = max(removed.values(), default=0) >= _BATCH_SIZE
        await asyncio.sleep(_BATCH_PAUSE_SECONDS if is_full else _IDLE_PAUSE_SECONDS)


async def sweep(pool: Pool, days: int, *, beat: Callable[[], None]) -> dict[str, int]:
    """Delete one batch of each kind; return the number of rows by kind, without zeros.

    `beat` is called after each kind: a migration's lock may delay one by 20 s.
    """
    removed = {}
    for kind in repository.RETENTION_KINDS:
        rows = await repository.delete_outdated(pool, kind=kind, retention_days=days, batch_size=_BATCH_SIZE)
        beat()
        if rows:
            removed[kind] = rows
    return removed
