"""The worker that refreshes the active strategy's list, in one of the processes that share the database."""

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
from app.screener import repository
from app.screener.pace import Pace, backoff_seconds
from app.screener.parsing.parser import Parser
from app.screener.probation import AGREEING_REFRESHES, ListCandidate, difference, next_candidate
from app.screener.providers import BlockedError, Found, ProviderError, Request, provider_of
from app.screener.providers.finviz import open_client
from app.screener.repository import NewList
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

if TYPE_CHECKING:
    import asyncpg

log = structlog.get_logger(__name__)

_STAND_BY_SECONDS = 5.0
# How soon a requested refresh and a changed configuration are noticed.
_POLL_SECONDS = 1.0


def start(context: AppContext) -> None:
    """Start the engine, `screener`, under the process's supervisor."""
    context.supervisor.start("screener", partial(run, context, "screener"))


async def run(context: AppContext, name: str) -> None:
    """Refresh while this process has the refresher's lock; stand by while another process has it.

    The lock lives on one connection, and all writes use that connection: without the lock nothing is written.
    """
    connection = await connect(context.settings.database_url, role="screener")
    beat = partial(context.supervisor.beat, name)
    try:
        while not await repository.try_lock_refresher(connection):
            beat()
            await _measure(context, connection)
            await asyncio.sleep(_STAND_BY_SECONDS)
        async with open_client() as http, Parser() as parser:
            engine = Engine(context, connection, http, Pace(beat), parser)
            while True:
                beat()
                await _measure(
                    context, connection
                )  # a refresh may take long, and the strategy may have changed
                wait = await engine.turn()
                await _measure(context, connection)
                await asyncio.sleep(wait)
    finally:
        connection.terminate()  # frees the lock; a graceful close would wait for a server that is unavailable


async def _measure(context: AppContext, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    strategy = context.config.finviz.active_strategy
    current = await repository.current_list(connection, strategy=strategy.name)
    if current is None:  # the gauges may hold the list of the strategy before
        metrics.TOP_N_AGE_SECONDS.forget()
        metrics.TOP_N_SIZE.forget()
    else:
        metrics.TOP_N_AGE_SECONDS.set(current.age_seconds)
        metrics.TOP_N_SIZE.set(len(current.tickers))


class Engine:
    """Refreshes at the strategy's interval, when a person requests it, and when the strategy changes."""

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
        self._last_strategy: Strategy | None = None
        self._due_at = 0.0
        self._last_error: Reason | None = None
        self._candidate: ListCandidate | None = None
        self._is_after_pause = False
        self._blocked_in_a_row = 0
        self._backoff_until = 0.0

    async def turn(self) -> float:
        """Refresh if it is due; return the seconds until the next check.

        Raises:
            ConnectionError: the connection is lost, and the lock with it. `--db` may have removed the lists.
        """
        if self._connection.is_closed():
            raise ConnectionError("the refresher's connection to PostgreSQL was lost")
        strategy = self._context.config.finviz.active_strategy
        if self._context.config.system.engine_paused:
            self._is_after_pause = True
            self._due_at = 0.0  # due at once when the engine is resumed
            return _POLL_SECONDS
        if await self._is_due(strategy):
            await self.refresh(strategy)
            self._last_strategy = strategy
            self._due_at = time.monotonic() + strategy.refresh_interval_sec
        due_at = max(self._due_at, self._backoff_until)
        return min(_POLL_SECONDS, max(0.0, due_at - time.monotonic()))

    async def _is_due(self, strategy: Strategy) -> bool:
        is_requested = await repository.is_refresh_requested(self._connection, strategy=strategy.name)
        last = self._last_strategy
        if last is None or strategy.url != last.url or strategy.name != last.name:
            self._candidate = None
        now = time.monotonic()
        if now < self._backoff_until and strategy.url.lower().startswith("http"):
            return False
        return is_requested or strategy != last or now >= self._due_at

    async def refresh(self, strategy: Strategy) -> None:
        """Fetch the list and store it. After a failure the current list stays, and the reason is stored."""
        max_age_seconds: int | None = strategy.max_age_seconds
        try:
            provider = provider_of(strategy.url)
            max_age_seconds = strategy.max_age_seconds if provider.ages else None
            kind, tickers, is_whole = await provider.fetch(self._request(strategy))
            found = Found(kind, tickers[: strategy.top_n])
        except ProviderError as error:
            await self._reject(strategy, self._back_off(error), max_age_seconds)
            return
        self._blocked_in_a_row = 0
        if reason := await self._probation_reason(strategy, found, ages=provider.ages):
            await self._reject(strategy, reason, max_age_seconds, result="probation")
            return
        accepted = NewList(
            *(strategy.name, found.kind, max_age_seconds, found.tickers, strategy.top_n),
            further=tickers[strategy.top_n : strategy.stored_tickers],
            is_whole=is_whole and len(tickers) <= strategy.stored_tickers,
        )
        await self._accept(accepted)

    def _request(self, strategy: Strategy) -> Request:
        settings = self._context.settings
        return Request(
            url=strategy.url,
            top_n=strategy.top_n,
            depth=strategy.stored_tickers,
            config_dir=settings.config_dir,
            http=self._http,
            pace=self._pace,
            parser=self._parser,
            elite_auth=settings.finviz_elite_auth,
            allow_other_hosts=self._context.config.finviz.allow_other_hosts,
        )

    async def _probation_reason(self, strategy: Strategy, found: Found, *, ages: bool) -> Reason | None:
        """Return why the list is on probation, None if it is not. An operator's own list never is."""
        current = await repository.current_list(self._connection, strategy=strategy.name)
        is_comparable = (
            ages
            and current is not None
            and current.is_fresh
            and current.source == found.kind
            and (self._last_strategy is None or self._last_strategy.url == strategy.url)
        )
        before = current.tickers if is_comparable and current is not None else None
        self._candidate = next_candidate(found.tickers, before, self._candidate)
        if self._candidate is None or before is None:
            return None
        return Reason(
            RefusalCode.PROBATION,
            share=f"{difference(found.tickers, before):.0%}",
            count=AGREEING_REFRESHES - self._candidate.agreed,
        )

    async def _accept(self, accepted: NewList) -> None:
        changed = await self._store(accepted)
        self._is_after_pause = False
        if self._last_error or changed:
            log.info(
                "list refreshed",
                strategy=accepted.strategy,
                source=accepted.source,
                tickers=len(accepted.tickers),
                changed=changed,
            )
        self._last_error = None
        metrics.REFRESHES.labels("ok" if changed else "unchanged").inc()
        # Also for an unchanged list: buys may have waited because it was stale.
        self._context.wakeups.notify("received", "changed")
        if changed:
            self._context.wakeups.notify("listed")

    async def _store(self, accepted: NewList) -> bool:
        """Store an accepted list in one transaction; return whether it differs from the current one."""
        async with self._connection.transaction():
            await repository.record_success(self._connection, strategy=accepted.strategy)
            is_renewed = await repository.renew_list(self._connection, accepted=accepted)
            if not is_renewed:
                await repository.insert_list(
                    self._connection, accepted=accepted, is_after_pause=self._is_after_pause
                )
        return not is_renewed

    def _back_off(self, error: ProviderError) -> Reason:
        """Back off from a site that blocked us; return the reason to store, which says so."""
        if not isinstance(error, BlockedError):
            return error.reason
        self._blocked_in_a_row += 1
        seconds = backoff_seconds(self._blocked_in_a_row, error.retry_after)
        self._backoff_until = time.monotonic() + seconds
        return Reason(RefusalCode.BACKING_OFF, reason=error.reason, seconds=f"{seconds:.0f}")

    async def _reject(
        self, strategy: Strategy, error: Reason, max_age_seconds: int | None, *, result: str = "failed"
    ) -> None:
        await repository.record_failure(
            self._connection, strategy=strategy.name, error=error, max_age_seconds=max_age_seconds
        )
        metrics.REFRESHES.labels(result).inc()
        if error != self._last_error:  # one log line for a repeated error, not one each refresh
            log.warning("refresh failed; the last good list stays", strategy=strategy.name, error=str(error))
        self._last_error = error
        self._context.wakeups.notify("changed")
