"""What a what-if reads: recorded batches, and the lists that were kept. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from app.decision.batch import ClaimedSignal
from app.decision.record import BatchInputs, ListInForce
from app.signals.reasons import Reason


class StoredDecision(NamedTuple):
    """What was decided, as it is stored."""

    status: str
    reason: Reason
    detail: dict[str, Any]


class RecordedSignal(NamedTuple):
    """A signal of a recorded batch. `decision` None: it had ended before its decision was stored.

    `delivered_to` are the destinations that it was delivered to.
    """

    signal: ClaimedSignal
    received_at: datetime
    expires_at: datetime
    price: Decimal | None
    decision: StoredDecision | None
    delivered_to: frozenset[str]


class RecordedBatch(NamedTuple):
    """A batch with everything that decided it; `signals` in the order of `inputs.signals`."""

    at: datetime
    inputs: BatchInputs
    signals: Sequence[RecordedSignal]


class KeptList(NamedTuple):
    """A list as a refresh found it. `tickers` are folded, also those below the Top-N.

    `max_age_seconds` None: it never becomes stale. `is_whole`: the source had no more.
    """

    at: datetime
    max_age_seconds: int | None
    tickers: Sequence[str]
    is_whole: bool


class KeptLists(NamedTuple):
    """The list of a strategy at a moment, and the next one after it; None: none is kept."""

    current: KeptList | None = None
    following: KeptList | None = None


Moment = tuple[str, datetime]
"""A strategy and a time."""


def list_at(
    recorded: RecordedSignal,
    inputs: BatchInputs,
    wanted: ListInForce,
    lists: Mapping[Moment, KeptLists],
) -> tuple[KeptList | None, datetime | None]:
    """Return the list that decides a buy, and when. `(None, time)`: none in time. Neither: not kept."""
    listed = inputs.listed
    if is_the_same_list(wanted, listed):
        fetched_at = listed.fetched_at
        kept = None if fetched_at is None else lists[wanted.strategy, fetched_at].current
        is_that_list = kept is not None and kept.at == fetched_at
        return (kept, decided_at(inputs)) if is_that_list else (None, None)
    is_reprocessed = inputs.reprocessed is not None
    on_arrival = None if is_reprocessed else lists[wanted.strategy, recorded.received_at].current
    if (
        on_arrival is not None
        and _is_fresh(on_arrival, recorded.received_at, wanted.max_age_seconds)
        and not _is_fresh(on_arrival, recorded.received_at, listed.max_age_seconds)
    ):
        return on_arrival, recorded.received_at  # it waited then, and does not now
    moment = decided_at(inputs)
    current, following = lists[wanted.strategy, moment]
    if current is None:
        return None, None
    if wanted.is_frozen or _is_fresh(current, moment, wanted.max_age_seconds):
        return current, moment
    if following is not None and following.at < recorded.expires_at and not is_reprocessed:
        return following, following.at
    return None, moment


def decided_at(inputs: BatchInputs) -> datetime:
    """Return the time of a batch, which the application estimates: not before the list that it used."""
    return max(inputs.now, inputs.listed.fetched_at or inputs.now)


def is_the_same_list(wanted: ListInForce, listed: ListInForce) -> bool:
    """Return whether only the size of the list differs: the list of then decides, at the same time."""
    return (wanted.strategy, wanted.max_age_seconds) == (listed.strategy, listed.max_age_seconds)


def _is_fresh(kept: KeptList, moment: datetime, max_age_seconds: int | None) -> bool:
    if kept.max_age_seconds is None or max_age_seconds is None:
        return True
    return kept.at > moment - timedelta(seconds=max_age_seconds)
