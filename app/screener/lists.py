"""The stored lists: what is in force, what a refresh changes."""

from dataclasses import dataclass
from datetime import datetime

from app.config.model import Strategy
from app.db.pool import Connection
from app.db.queries import load

_SQL = load("app.screener")


@dataclass(frozen=True, slots=True)
class TopN:
    """A strategy's list in force, rank 1 first. `error`: why its last refresh failed, empty if it did not."""

    strategy: str
    source: str
    tickers: tuple[str, ...]
    fetched_at: datetime
    age_seconds: float
    max_age_seconds: int | None
    fresh: bool
    error: str


async def current_list(connection: Connection, strategy: Strategy) -> TopN | None:
    """Return the strategy's list in force; None before its first good refresh."""
    row = await connection.fetchrow(_SQL["current"], strategy.name)
    if row is None:
        return None
    return TopN(**{**row, "tickers": tuple(row["tickers"])})


async def last_error(connection: Connection, strategy: Strategy) -> str:
    """Return why the strategy's latest refresh failed; empty if it did not, or there was none yet."""
    return await connection.fetchval(_SQL["last_error"], strategy.name) or ""


async def store(
    connection: Connection,
    strategy: Strategy,
    source: str,
    tickers: list[str],
    max_age: int | None,
    *,
    was_frozen: bool = False,
) -> bool:
    """Store a good refresh; return True when the list is another one than before.

    The tickers that entered are stored with it: reprocessing starts from them, and only where the
    list before was fresh, or frozen by a pause, which counts as fresh.
    """
    async with connection.transaction():
        await connection.execute(_SQL["succeeded"], strategy.name)
        if await connection.fetchval(_SQL["renew"], strategy.name, source, max_age, tickers):
            return False
        await connection.execute(_SQL["store"], strategy.name, source, max_age, tickers, was_frozen)
        return True


async def store_error(connection: Connection, strategy: Strategy, error: str, max_age: int | None) -> None:
    """Store that a refresh failed; the last good list stays and ages."""
    await connection.execute(_SQL["failed"], strategy.name, error, max_age)


async def is_requested(connection: Connection, strategy: Strategy) -> bool:
    """Say whether a person asked for a refresh since the strategy's last one."""
    return bool(await connection.fetchval(_SQL["is_requested"], strategy.name))


async def ask_for_refresh(connection: Connection, strategy: Strategy) -> datetime:
    """Ask for a refresh, in whichever process refreshes; return when that was asked."""
    asked: datetime = await connection.fetchval(_SQL["ask_for_refresh"], strategy.name)
    return asked
