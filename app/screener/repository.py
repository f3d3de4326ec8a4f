"""Tables `top_n_lists` and `screener_refreshes`: each strategy's lists, and how its latest refresh ended.

`Connection | Pool` comes first in every function. Times are the database's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from app.db.pool import Connection, Pool
from app.db.queries import load
from app.signals.reasons import Reason, stored_reason

_SQL = load("app.screener")


@dataclass(frozen=True, slots=True)
class TopNList:
    """A strategy's current list, rank 1 first.

    `max_age_seconds`: None for a list that never becomes stale. `error`: why the latest refresh failed, None
    if it did not.
    """

    strategy: str
    source: str
    tickers: tuple[str, ...]
    fetched_at: datetime
    age_seconds: float
    max_age_seconds: int | None
    is_fresh: bool
    error: Reason | None


class NewList(NamedTuple):
    """An accepted list, rank 1 first, in the order of the statements' parameters.

    `further` are the tickers below the Top-N. No decision reads them: what-if does. `is_whole`: the source
    has no more.
    """

    strategy: str
    source: str
    max_age_seconds: int | None
    tickers: Sequence[str]
    top_n: int
    further: Sequence[str]
    is_whole: bool


async def try_lock_refresher(connection: Connection) -> bool:
    """Acquire the lock of the one refresher of this database; False while another session has it.

    The lock lives as long as the session of `connection`, not as long as a transaction.
    """
    is_acquired: bool = await connection.fetchval(_SQL["try_lock_refresher"])
    return is_acquired


async def current_list(connection: Connection | Pool, *, strategy: str) -> TopNList | None:
    """Return the strategy's current list; None before its first good refresh."""
    row = await connection.fetchrow(_SQL["current_list"], strategy)
    if row is None:
        return None
    values = {**row, "tickers": tuple(row["tickers"])}
    error = _error(*(values.pop(name) for name in ("error", "error_code", "error_params")))
    return TopNList(**values, error=error)


async def last_error(connection: Connection | Pool, *, strategy: str) -> Reason | None:
    """Return why the strategy's latest refresh failed; None if it did not, or before the first one."""
    row = await connection.fetchrow(_SQL["last_error"], strategy)
    return None if row is None else _error(*row)


def _error(text: str, code: str | None, parameters: dict[str, Any] | None) -> Reason | None:
    return stored_reason(text, code, parameters) if text else None


async def renew_list(connection: Connection | Pool, *, accepted: NewList) -> bool:
    """Set the fetch time of the newest list to now; False when it is not this very list of this strategy."""
    renewed: int | None = await connection.fetchval(_SQL["renew_list"], *accepted)
    return renewed is not None


async def insert_list(connection: Connection | Pool, *, accepted: NewList, is_after_pause: bool) -> None:
    """Insert a list as the strategy's current one, with the tickers that entered it.

    Reprocessing starts from those that entered. There are none where the list before was stale. After a pause
    (`is_after_pause`) it counts as fresh.
    """
    await connection.execute(_SQL["insert_list"], *accepted, is_after_pause)


async def record_success(connection: Connection | Pool, *, strategy: str) -> None:
    """Record that the strategy's latest refresh succeeded now."""
    await connection.execute(_SQL["record_success"], strategy)


async def record_failure(
    connection: Connection | Pool, *, strategy: str, error: Reason, max_age_seconds: int | None
) -> None:
    """Record that the strategy's latest refresh failed now. Its current list stays, with this maximum age."""
    await connection.execute(_SQL["record_failure"], strategy, max_age_seconds, *error.columns())


async def request_refresh(connection: Connection | Pool, *, strategy: str) -> datetime:
    """Request a refresh from the process that has the refresher's lock; return the time of the request."""
    requested_at: datetime = await connection.fetchval(_SQL["request_refresh"], strategy)
    return requested_at


async def is_refresh_requested(connection: Connection | Pool, *, strategy: str) -> bool:
    """Return whether a person requested a refresh after the strategy's latest one ended."""
    return bool(await connection.fetchval(_SQL["is_refresh_requested"], strategy))


async def shift_times(
    connection: Connection | Pool, *, seconds: float, is_age_unknown: bool, stored_before: datetime | None
) -> None:
    """Move fetch times, ends of refreshes and requests that are ahead of the clock back by `seconds`.

    A current list that was fetched before `stored_before`, a time by the clock of now, moves too. With
    `is_age_unknown` a moved list becomes stale.
    """
    await connection.execute(_SQL["shift_lists"], seconds, is_age_unknown, stored_before)
    await connection.execute(_SQL["shift_refreshes"], seconds)
