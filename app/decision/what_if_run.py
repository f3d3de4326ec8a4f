"""Run a what-if: read recorded batches page by page, decide them both ways, and report the progress."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import datetime, timedelta

from app.db.reading import ReadingPool, ReadsBusyError
from app.decision import what_if_repository as repository
from app.decision.what_if import Change, WhatIf
from app.decision.what_if_record import KeptLists, Moment
from app.decision.what_if_repository import Page
from app.decision.what_if_results import Comparison
from app.signals.reasons import Reason

# A page waits for its turn among the heavy reads for 5 s at a time, so for up to a minute.
_TURNS = 12


async def run(
    pool: ReadingPool,
    change: Change,
    start: datetime,
    end: datetime,
    *,
    render: Callable[[Reason], str] = str,
) -> AsyncGenerator[float | Comparison, None]:
    """Yield which part of the time is done, from 0 to 1 after each page, and at last the comparison.

    It reads on people's connections, in statements of a page, and holds none meanwhile. It computes in a
    thread, at most half of the time, so that deliveries go on. Closing the iterator ends it.
    Raises:
        ReadLimitError: as `ReadingPool.acquire`.
    """
    needs_open = change.risk.get("max_open_positions") is not None
    async with pool.acquire(is_heavy=True) as connection:
        open_before = (
            await repository.fetch_open_at(connection, start) if needs_open else frozenset[tuple[str, str]]()
        )
    what_if = WhatIf(change, open_before, render)
    after, length = (start, 0), max(end - start, timedelta(microseconds=1))
    while (found := await _read(pool, what_if, after, end)) is not None:
        page, lists = found
        started = time.monotonic()
        await asyncio.to_thread(_step, what_if, page, lists)
        after = page.last
        yield min(1.0, (after[0] - start) / length)
        await asyncio.sleep(time.monotonic() - started)
    yield what_if.comparison


async def _read(
    pool: ReadingPool, what_if: WhatIf, after: tuple[datetime, int], end: datetime
) -> tuple[Page, dict[Moment, KeptLists]] | None:
    turns = 0
    while True:
        try:
            async with pool.acquire(is_heavy=True) as connection:
                page = await repository.fetch_page(connection, after, end)
                if page is None:
                    return None
                moments = (
                    moment
                    for batch in page.batches
                    if not isinstance(batch, int)
                    for moment in what_if.moments_of(batch)
                )
                return page, await repository.fetch_lists(connection, moments)
        except ReadsBusyError:
            turns += 1
            if turns == _TURNS:
                raise


def _step(what_if: WhatIf, page: Page, lists: Mapping[Moment, KeptLists]) -> None:
    for batch in page.batches:
        if isinstance(batch, int):
            what_if.skip(batch)
        else:
            what_if.step(batch, lists)
