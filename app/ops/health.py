"""The routes `/health` and `/health/detailed`."""

import asyncio
import time
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, Request, Response
from pydantic import BaseModel

from app.config.destination_url import fault_of
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Connection
from app.ops import certificate, checks, repository
from app.ops.checks import BLOCKED_AFTER_SECONDS, Blocked, Check, Probe, Status
from app.orders.destination_state import describe_destination
from app.web.routing import new_router

_DATABASE_SECONDS = 2.0
_PROBE_INTERVAL_SECONDS = 1.0

router = new_router(tags=["health"])


class HealthAnswer(BaseModel):
    """Whether this process can accept and handle signals, and the checks behind that."""

    status: Status
    version: str
    uptime_seconds: float
    checks: dict[str, Check]


class DetailedAnswer(BaseModel):
    """Counts and ages of every component."""

    status: Status
    version: str
    components: dict[str, Any]


class Health:
    """Run the checks of the process. Requests share one probe of the database a second."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._probe: Probe | None = None
        self._probed_at = 0.0
        self._probing = asyncio.Lock()
        self._running_probe: asyncio.Task[Probe] | None = None

    async def answer(self) -> HealthAnswer:
        """Run every check."""
        context = self._context
        probe = await self._fresh_probe()
        system = context.config.system
        found = {
            "database": checks.database(probe),
            "workers": checks.workers(context.supervisor.states(), probe.blocked),
            "backlog": checks.backlog(context.queues, context.settings.queue_max_size),
            "intake": checks.intake(paused=system.intake_paused, failure=context.intake_failure),
            "buys": checks.buys(paused=system.buys_paused),
            "outcomes": checks.outcomes(context.unwritten_outcomes),
            "clock_step": checks.clock_step(context.clock.step, time.monotonic()),
            "sells": checks.sells(context.queues, context.alarms_seen),
            "top_n": checks.top_n(probe, paused=system.engine_paused),
            "destination": checks.destinations(
                {
                    each.name: checks.destination(
                        describe_destination(context, each.name), fault_of(each.url)
                    )
                    for each in context.config.destinations
                }
            ),
            "configuration": checks.configuration(context.config_problems),
            "clock": checks.clock(context.clock.difference, differs=context.clock.differs),
            "disk": checks.disk(checks.free_bytes(context.settings.config_dir)),
            "certificate": checks.certificate(certificate.look(context)),
        }
        return HealthAnswer(
            status=checks.overall(found.values()),
            version=context.settings.app_version,
            uptime_seconds=round(time.monotonic() - context.started_at, 1),
            checks=found,
        )

    async def detailed(self) -> DetailedAnswer:
        """Return the components under their documented keys."""
        context, answer = self._context, await self.answer()
        settings, probe = context.settings, await self._fresh_probe()
        states = context.supervisor.states()
        described = describe_destination(context)
        max_size = settings.queue_max_size
        return DetailedAnswer(
            status=answer.status,
            version=answer.version,
            components={
                "processing_queue": {"size": context.queues.received, "max_size": max_size},
                "approved_queue": {"size": context.queues.approved, "max_size": max_size},
                "workers": {
                    "processing": settings.worker_concurrency,
                    "forwarding": settings.forwarding_workers,
                    "processing_active": _alive(states, "decision-"),
                    "forwarding_active": _alive(states, "sender-"),
                },
                "finviz_engine": {
                    "state": "paused" if context.config.system.engine_paused else "running",
                    **answer.checks["top_n"],
                },
                "top_n_tickers": {
                    "count": probe.list_size or 0,
                    "age_seconds": None if probe.list_age is None else round(probe.list_age, 1),
                    "last_update": probe.list_at,
                },
                "database": answer.checks["database"],
                "destination": {
                    "kind": described["kind"],
                    "state": described["state"],
                    **answer.checks["destination"],
                },
            },
        )

    async def _fresh_probe(self) -> Probe:
        async with self._probing:
            now = time.monotonic()
            if self._probe is None or now - self._probed_at > _PROBE_INTERVAL_SECONDS:
                self._probe = await self._run_probe()
                self._probed_at = time.monotonic()
            return self._probe

    async def _run_probe(self) -> Probe:
        """Probe the database within 2 s, even if closing the connection takes longer."""
        if self._running_probe is None or self._running_probe.done():
            self._running_probe = asyncio.create_task(self._query())
        done, _ = await asyncio.wait({self._running_probe}, timeout=_DATABASE_SECONDS)
        if done and not self._running_probe.cancelled():
            return self._running_probe.result()
        self._running_probe.cancel()
        return Probe(0.0, error=f"no answer in {_DATABASE_SECONDS:g} s")

    async def _query(self) -> Probe:
        started = time.perf_counter()
        strategy = self._context.config.finviz.active_strategy.name
        try:
            async with self._context.probing.acquire() as connection:
                try:
                    screener = await repository.fetch_screener_state(connection, strategy=strategy)
                    blocked = await find_blocked(self._context, connection)
                except asyncio.CancelledError:
                    connection.terminate()  # a regular release would wait for a server that hangs
                    raise
        except asyncpg.UndefinedTableError:
            return Probe(0.0, error="the schema is missing or old: run 'python -m app migrate'")
        except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError):
            return Probe(0.0, error="unavailable")  # the text of the exception may name hosts
        milliseconds = round((time.perf_counter() - started) * 1000, 1)
        return Probe(milliseconds, blocked=blocked, **screener._asdict())


async def find_blocked(context: AppContext, connection: Connection) -> tuple[Blocked, ...]:
    """Return the workers and requests of this process that have waited for a lock for more than 3 s."""
    waits = await repository.fetch_lock_waits(
        connection, pids=list(context.sessions), longer_than_seconds=BLOCKED_AFTER_SECONDS
    )
    return tuple(
        Blocked(context.sessions.get(wait.pid, "a request"), wait.seconds, wait.blocker, wait.is_idle)
        for wait in waits
    )


def _alive(states: dict[str, Any], prefix: str) -> int:
    return sum(state.alive for name, state in states.items() if name.startswith(prefix))


def _health(request: Request) -> Health:
    health: Health = request.app.state.health
    return health


_Health = Annotated[Health, Depends(_health)]


@router.get(
    "/health",
    openapi_extra={"security": []},
    responses={503: {"model": HealthAnswer, "description": "cannot accept or handle signals"}},
)
async def health(service: _Health, response: Response) -> HealthAnswer:
    """Return the state of this process. 503 only when it cannot accept or handle signals."""
    answer = await service.answer()
    response.status_code = 503 if answer.status == "unhealthy" else 200
    return answer


@router.get("/health/detailed", openapi_extra={"security": []})
async def health_detailed(service: _Health) -> DetailedAnswer:
    """Return counts and ages of every component. Always 200; the state is in `status`."""
    return await service.detailed()
