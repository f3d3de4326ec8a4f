"""Refreshes the active strategy's list, in one process of those that share the database (SPEC §12)."""

import asyncio
import time
from functools import partial

import asyncpg
import structlog

from app import metrics
from app.config import Strategy
from app.db.queries import load
from app.runtime import Runtime
from app.screener import lists
from app.screener.sources import SourceError, source_of

log = structlog.get_logger(__name__)

_SQL = load("screener")
_LOOK_AGAIN_SECONDS = (
    5.0  # for a lock that another process holds, and for whether a new configuration asks for more
)


def start(runtime: Runtime) -> None:
    """Start the engine, `screener`, under the process's supervisor."""
    runtime.supervisor.start("screener", partial(run, runtime, "screener"))


async def run(runtime: Runtime, name: str) -> None:
    """Refresh for ever while this process holds the lock; stand by while another one does.

    The lock lives on a connection of its own and every write goes over it: who loses that loses the right.
    """
    connection = await asyncpg.connect(
        runtime.settings.database_url,
        timeout=5,
        command_timeout=30,
        server_settings={"application_name": "trading-signal-processor screener"},
    )
    try:
        while not await connection.fetchval(_SQL["lock"]):
            runtime.supervisor.beat(name)
            await _measure(runtime, connection)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        engine = Engine(runtime, connection)
        while True:
            runtime.supervisor.beat(name)
            wait = await engine.turn()
            await _measure(runtime, connection)
            await asyncio.sleep(wait)
    finally:
        connection.terminate()  # the server frees the lock; a polite goodbye would wait for one that is away


async def _measure(runtime: Runtime, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    found = await lists.current_list(connection, runtime.config.finviz.active_strategy)
    if found is not None:
        metrics.TOP_N_AGE_SECONDS.set(found.age_seconds)
        metrics.TOP_N_SIZE.set(len(found.tickers))


class Engine:
    """Refreshes when the strategy's interval is over, or when another strategy or URL has come into force."""

    def __init__(self, runtime: Runtime, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._runtime = runtime
        self._connection = connection
        self._last: Strategy | None = None
        self._due_at = 0.0
        self._error = ""

    async def turn(self) -> float:
        """Refresh if it is time; return the seconds until the next look.

        Raises:
            ConnectionError: the connection is lost, and the lock with it; perhaps the lists too (`--db`).
        """
        if self._connection.is_closed():
            raise ConnectionError("the refresher's connection to PostgreSQL was lost")
        strategy = self._runtime.config.finviz.active_strategy
        if self._runtime.config.system.engine_paused:
            return 1.0
        if strategy != self._last or time.monotonic() >= self._due_at:
            await self.refresh(strategy)
            self._last = strategy
            self._due_at = time.monotonic() + strategy.refresh_interval_sec
        return min(_LOOK_AGAIN_SECONDS, max(0.0, self._due_at - time.monotonic()))

    async def refresh(self, strategy: Strategy) -> None:
        """Fetch the list and store it; a failure is stored and told, and the last good list stays."""
        try:
            source, place = source_of(strategy.url)
            max_age = strategy.max_age_seconds if source.ages else None
        except SourceError as error:
            await self._failed(strategy, str(error), strategy.max_age_seconds)
            return
        try:
            found = (await source.fetch(place, self._runtime.settings.config_dir))[: strategy.top_n]
        except SourceError as error:
            await self._failed(strategy, str(error), max_age)
            return
        changed = await lists.keep(self._connection, strategy, source.kind, found, max_age)
        if self._error or changed:
            log.info(
                "list refreshed",
                strategy=strategy.name,
                source=source.kind,
                tickers=len(found),
                changed=changed,
            )
        self._error = ""
        metrics.REFRESHES.labels("ok" if changed else "unchanged").inc()
        # also when nothing changed: buys may have waited because the list was stale
        self._runtime.wakeups.notify("received")
        self._runtime.wakeups.notify("changed")

    async def _failed(self, strategy: Strategy, error: str, max_age: int | None) -> None:
        await lists.keep_error(self._connection, strategy, error, max_age)
        metrics.REFRESHES.labels("failed").inc()
        if error != self._error:  # one line a kind of trouble, not one every ten seconds
            log.warning("refresh failed; the last good list stays", strategy=strategy.name, error=error)
        self._error = error
        self._runtime.wakeups.notify("changed")
