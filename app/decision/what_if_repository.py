"""The statements of `what_if.sql` as typed functions: recorded batches, and the lists that were kept."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import structlog

from app.db.pool import Connection
from app.db.queries import load
from app.decision.batch import ClaimedSignal
from app.decision.record import BatchInputs, read_stored
from app.decision.rules import ListFacts
from app.decision.what_if_record import (
    KeptList,
    KeptLists,
    Moment,
    RecordedBatch,
    RecordedSignal,
    StoredDecision,
)
from app.signals.reasons import stored_reason
from app.signals.tickers import fold

PAGE_SIGNALS = 500  # of a page, more or less: a page is what is held in memory at a time

_SQL = load("app.decision", "what_if")
_NO_FACTS = ListFacts(None, None, None)

log = structlog.get_logger(__name__)


class Page(NamedTuple):
    """Recorded batches in order of their time. A number: that many signals cannot be decided again.

    `last` is the place of the last one: its time and id.
    """

    batches: list[RecordedBatch | int]
    last: tuple[datetime, int]


async def fetch_page(connection: Connection, after: tuple[datetime, int], before: datetime) -> Page | None:
    """Return the batches after a place, None if there are none before that time."""
    rows = await connection.fetch(_SQL["batches"], *after, before, PAGE_SIGNALS)
    if not rows:
        return None
    # of a reprocessed buy the second decision counts: what was rejected is decided again in no other way
    nth: dict[bool, dict[UUID, asyncpg.Record]] = {}
    for is_again in (False, True):
        batches = [row for row in rows if row["is_again"] is is_again]
        ids = list({signal_id for row in batches for signal_id in row["signal_ids"]})
        found = await connection.fetch(_SQL["signals"], ids, int(is_again)) if ids else []
        nth[is_again] = {row["id"]: row for row in found}
    return Page([_batch(row, nth[row["is_again"]]) for row in rows], (rows[-1]["at"], rows[-1]["id"]))


async def fetch_lists(connection: Connection, moments: Iterable[Moment]) -> dict[Moment, KeptLists]:
    """Return the lists that were kept at these times."""
    lists: dict[Moment, KeptLists] = {moment: KeptLists() for moment in moments}
    kept: dict[int, KeptList] = {}
    if not lists:
        return lists
    strategies, times = zip(*lists, strict=True)
    rows = await connection.fetch(_SQL["lists"], strategies, times)
    for row in rows:
        if row["tickers"] is not None:
            tickers = tuple(map(fold, row["tickers"]))
            kept[row["id"]] = KeptList(row["at"], row["max_age_seconds"], tickers, row["is_whole"])
    for row in rows:
        moment = row["strategy"], row["moment"]
        side = "following" if row["is_following"] else "current"
        lists[moment] = lists[moment]._replace(**{side: kept[row["id"]]})
    return lists


async def fetch_open_at(connection: Connection, moment: datetime) -> frozenset[tuple[str, str]]:
    """Return destination and ticker of the positions that were open at a time."""
    rows = await connection.fetch(_SQL["open_at"], moment)
    return frozenset((row["destination"], row["ticker"]) for row in rows)


async def fetch_recorded_from(connection: Connection) -> datetime | None:
    """Return since when decisions are recorded, None if none is."""
    since: datetime | None = await connection.fetchval(_SQL["recorded_from"])
    return since


def _batch(row: asyncpg.Record, signals: dict[UUID, asyncpg.Record]) -> RecordedBatch | int:
    ids: list[UUID] = row["signal_ids"]
    try:
        found = [signals[signal_id] for signal_id in ids]
        inputs = read_stored(row["inputs"], list(map(_signal, found)))
    except KeyError:  # retention or a clearance has removed a signal
        return len(ids)
    except ValueError:
        log.warning("a recorded batch of decisions is not in the stored form", batch=row["id"])
        return len(ids)
    return RecordedBatch(
        row["at"], inputs, [_recorded(each, inputs, index) for index, each in enumerate(found)]
    )


def _signal(row: asyncpg.Record) -> ClaimedSignal:
    values = (row["id"], row["seq"], row["ticker"], row["type"], row["body"])
    return ClaimedSignal(*values, is_expired=False, facts=_NO_FACTS)


def _recorded(row: asyncpg.Record, inputs: BatchInputs, index: int) -> RecordedSignal:
    decision = None
    if row["status"] is not None and index not in inputs.ended:
        reason = stored_reason(row["reason"], row["reason_code"], row["reason_params"])
        decision = StoredDecision(row["status"], reason, row["detail"])
    return RecordedSignal(
        inputs.signals[index],
        row["received_at"],
        row["expires_at"],
        row["price"],
        decision,
        frozenset(row["delivered_to"]),
    )
