"""Refreshes the active strategy's list, in one process of those that share the database."""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import structlog

from app import metrics
from app.config.model import Strategy
from app.context import AppContext
from app.db.pool import connect
from app.db.queries import load
from app.screener import lists
from app.screener.pace import Pace, backoff_seconds
from app.screener.parsing.parser import Parser
from app.screener.probation import AGREEING_REFRESHES, ON_PROBATION, Candidate, difference, judge
from app.screener.sources import BlockedError, Found, Request, SourceError, source_of
from app.screener.sources.finviz import open_client

if TYPE_CHECKING:
    import asyncpg

log = structlog.get_logger(__name__)

_SQL = load("app.screener")
_STAND_BY_SECONDS = 5.0
# for whether a person asked for a refresh, or a new configuration for another strategy
_LOOK_AGAIN_SECONDS = 1.0


def start(context: AppContext) -> None:
    """Start the engine, `screener`, under the process's supervisor."""
    context.supervisor.start("screener", partial(run, context, "screener"))


async def run(context: AppContext, name: str) -> None:
    """Refresh while this process holds the lock; stand by while another one does.

    The lock lives on a connection of its own and every write goes over it: who loses that loses the right.
    """
    connection = await connect(context.settings.database_url, role="screener")
    beat = partial(context.supervisor.beat, name)
    try:
        while not await connection.fetchval(_SQL["lock"]):
            beat()
            await _measure(context, connection)
            await asyncio.sleep(_STAND_BY_SECONDS)
        async with open_client() as http, Parser() as parser:
            engine = Engine(context, connection, http, Pace(beat), parser)
            while True:
                beat()
                wait = await engine.turn()
                await _measure(context, connection)
                await asyncio.sleep(wait)
    finally:
        connection.terminate()  # the server frees the lock; a polite goodbye would wait for one that is away


async def _measure(context: AppContext, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    found = await lists.current_list(connection, context.config.finviz.active_strategy)
    if found is not None:
        metrics.TOP_N_AGE_SECONDS.set(found.age_seconds)
        metrics.TOP_N_SIZE.set(len(found.tickers))


class Engine:
    """Refreshes when the interval is over, a person asks for it, or another strategy has come into force."""

    def __init__(
        self,
        context: AppContext,
        connection: "asyncpg.Connection[asyncpg.Record]",
        http: aiohttp.ClientSession,
        pace: Pace,
        parser: Parser,
    ) -> None:
        self._context = context
        self._connection = connection
        self._http = http
        self._pace = pace
        self._parser = parser
        self._last: Strategy | None = None
        self._due_at = 0.0
        self._error = ""
        self._candidate: Candidate | None = None
        self._was_frozen = False
        self._turned_away = 0
        self._leave_alone_until = 0.0

    async def turn(self) -> float:
        """Refresh if it is time; return the seconds until the next look.

        Raises:
            ConnectionError: the connection is lost, and the lock with it; perhaps the lists too (`--db`).
        """
        if self._connection.is_closed():
            raise ConnectionError("the refresher's connection to PostgreSQL was lost")
        strategy = self._context.config.finviz.active_strategy
        if self._context.config.system.engine_paused:
            self._was_frozen = True
            self._due_at = 0.0  # resumed, it looks at once
            return _LOOK_AGAIN_SECONDS
        if await self._is_time(strategy):
            await self.refresh(strategy)
            self._last = strategy
            self._due_at = time.monotonic() + strategy.refresh_interval_sec
        due_at = max(self._due_at, self._leave_alone_until)
        return min(_LOOK_AGAIN_SECONDS, max(0.0, due_at - time.monotonic()))

    async def _is_time(self, strategy: Strategy) -> bool:
        asked = await lists.is_requested(self._connection, strategy)
        if self._last is None or strategy.url != self._last.url or strategy.name != self._last.name:
            self._candidate = None
        now = time.monotonic()
        if now < self._leave_alone_until and strategy.url.lower().startswith("http"):
            return False
        return asked or strategy != self._last or now >= self._due_at

    async def refresh(self, strategy: Strategy) -> None:
        """Fetch the list and store it; a failure is stored and logged, and the last good list stays."""
        max_age: int | None = strategy.max_age_seconds
        try:
            source = source_of(strategy.url)
            max_age = strategy.max_age_seconds if source.ages else None
            kind, tickers = await source.fetch(self._request(strategy))
            found = Found(kind, tickers[: strategy.top_n])
        except SourceError as error:
            await self._failed(strategy, f"{error}{self._back_off(error)}", max_age)
            return
        self._turned_away = 0
        if suspicion := await self._suspicion(strategy, found, ages=source.ages):
            await self._failed(strategy, suspicion, max_age, result="probation")
            return
        await self._accept(strategy, found, max_age)

    def _request(self, strategy: Strategy) -> Request:
        settings = self._context.settings
        return Request(
            url=strategy.url,
            top_n=strategy.top_n,
            config_dir=settings.config_dir,
            http=self._http,
            pace=self._pace,
            parser=self._parser,
            elite_auth=settings.finviz_elite_auth,
            allow_other_hosts=self._context.config.finviz.allow_other_hosts,
        )

    async def _suspicion(self, strategy: Strategy, found: Found, *, ages: bool) -> str:
        """Say why the list is not believed yet, empty when it is; a person's own list always is."""
        in_force = await lists.current_list(self._connection, strategy)
        comparable = (
            ages
            and in_force is not None
            and in_force.fresh
            and in_force.source == found.kind
            and (self._last is None or self._last.url == strategy.url)
        )
        before = in_force.tickers if comparable and in_force is not None else None
        self._candidate = judge(found.tickers, before, self._candidate)
        if self._candidate is None or before is None:
            return ""
        return (
            f"{ON_PROBATION}: {difference(found.tickers, before):.0%} of the list is not what it was; "
            f"it is taken when {AGREEING_REFRESHES - self._candidate.agreed} more refreshes agree"
        )

    async def _accept(self, strategy: Strategy, found: Found, max_age: int | None) -> None:
        changed = await lists.store(
            self._connection, strategy, found.kind, found.tickers, max_age, was_frozen=self._was_frozen
        )
        self._was_frozen = False
        if self._error or changed:
            log.info(
                "list refreshed",
                strategy=strategy.name,
                source=found.kind,
                tickers=len(found.tickers),
                changed=changed,
            )
        self._error = ""
        metrics.REFRESHES.labels("ok" if changed else "unchanged").inc()
        # also when nothing changed: buys may have waited because the list was stale
        self._context.wakeups.notify("received")
        self._context.wakeups.notify("changed")
        if changed:
            self._context.wakeups.notify("listed")

    def _back_off(self, error: SourceError) -> str:
        """Leave a site that turned us away alone; return the words for it."""
        if not isinstance(error, BlockedError):
            return ""
        self._turned_away += 1
        seconds = backoff_seconds(self._turned_away, error.retry_after)
        self._leave_alone_until = time.monotonic() + seconds
        return f"; it is left alone for {seconds:.0f} s"

    async def _failed(
        self, strategy: Strategy, error: str, max_age: int | None, *, result: str = "failed"
    ) -> None:
        await lists.store_error(self._connection, strategy, error, max_age)
        metrics.REFRESHES.labels(result).inc()
        if error != self._error:  # one line a kind of trouble, not one every ten seconds
            log.warning("refresh failed; the last good list stays", strategy=strategy.name, error=error)
        self._error = error
        self._context.wakeups.notify("changed")
