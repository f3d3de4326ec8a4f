"""Delete what is older than `retention_days`, in small batches."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog

from app.context import AppContext
from app.db.pool import Pool
from app.ops import repository

log = structlog.get_logger(__name__)

_BATCH_SIZE = 500
_BATCH_PAUSE_SECONDS, _IDLE_PAUSE_SECONDS = 0.5, 20.0


async def run(context: AppContext, name: str) -> None:
    """Delete a batch of each kind every 20 s; of a kind whose batch was full, the next one after 0.5 s.

    The others wait meanwhile: statements that find nothing would be most of the work of a long backlog.
    Several processes may do so at the same time: each row is deleted and counted once.
    """
    beat = partial(context.supervisor.beat, name)
    kinds = repository.RETENTION_KINDS
    while True:
        beat()
        removed = await sweep(context.pool, context.config.system.retention_days, kinds, beat=beat)
        if removed:
            log.info("retention", **removed)
            context.wakeups.notify("changed")
        full = full_kinds(removed)
        kinds = full or repository.RETENTION_KINDS
        await asyncio.sleep(_BATCH_PAUSE_SECONDS if full else _IDLE_PAUSE_SECONDS)


async def sweep(
    pool: Pool, days: int, kinds: Sequence[str] = repository.RETENTION_KINDS, *, beat: Callable[[], None]
) -> dict[str, int]:
    """Delete one batch of each of the kinds; return the number of rows by kind, without zeros.

    `beat` is called after each kind: a migration's lock may delay one by 20 s.
    """
    removed = {}
    for kind in kinds:
        rows = await repository.delete_outdated(pool, kind=kind, retention_days=days, batch_size=_BATCH_SIZE)
        beat()
        if rows:
            removed[kind] = rows
    return removed


def full_kinds(removed: Mapping[str, int]) -> tuple[str, ...]:
    """Return the kinds of which a sweep deleted a full batch, so that more are left."""
    return tuple(kind for kind, rows in removed.items() if rows >= _BATCH_SIZE)
