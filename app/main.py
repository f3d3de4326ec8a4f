"""The composition root: what a process is made of, and in which order it starts and stops."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from app import admin, denials, intake, metrics, ops, queues
from app.admin import live, sign_outs
from app.clock import DatabaseClock
from app.clock import run as run_clock
from app.config_store import ConfigStore, Opening
from app.db import address
from app.db.pool import open_pool
from app.db.reading import open_reading_pool
from app.decision import endpoints as decision_endpoints
from app.decision import reprocessing
from app.decision import worker as decision
from app.denials import Denials
from app.intake.reception import Reception
from app.ops import retention
from app.ops.access import AccessLog
from app.ops.health import Health
from app.orders import endpoints as delivery_endpoints
from app.orders import workers as delivery
from app.orders.transport import open_client
from app.positions import endpoints as position_endpoints
from app.runtime import Runtime
from app.screener import endpoints as screener_endpoints
from app.screener import engine as screener
from app.settings import Settings
from app.supervisor import Supervisor
from app.wakeups import Wakeups

log = structlog.get_logger(__name__)

_DRAIN_SECONDS = 2.0


def create_app(settings: Settings, start: Opening) -> FastAPI:
    """Build the application on the configuration it starts with; nothing runs before its lifespan starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        url, sessions, clock = settings.database_url, dict[int, str](), DatabaseClock()
        runtime = Runtime(
            settings=settings,
            config=start.config,
            pool=await open_pool(url, settings.database_pool_size, users=sessions),
            reading=await open_reading_pool(url),
            probing=await open_pool(url, 1, role="health"),
            sessions=sessions,
            http=open_client(),
            wakeups=Wakeups(),
            supervisor=Supervisor(),
            started_at=time.monotonic(),
            clock=clock,
            denials=Denials(now=clock.now),
            config_problems=start.problems,
        )
        store = ConfigStore(runtime, start)
        await store.first_look()  # a pause of another process holds before anything is delivered
        reception = Reception(runtime)
        app.state.runtime, app.state.reception, app.state.health = runtime, reception, Health(runtime)
        app.state.config_store = store
        ended = app.state.ended_sessions = sign_outs.EndedSessions(runtime.pool)
        runtime.supervisor.start("sessions", partial(sign_outs.run, runtime, ended, "sessions"))
        metrics.WORKER_UP.watch(runtime.supervisor.states)
        metrics.BUILD_INFO.labels(settings.app_version).set(1)
        runtime.supervisor.start("config", partial(store.run, "config"))
        _start_workers(runtime, reception)
        if ignored := address.parse(url).ignored:
            log.warning("parameters of DATABASE_URL have no effect", parameters=list(ignored))
        log.info("started", version=settings.app_version, pool=settings.database_pool_size)
        try:
            yield
        finally:
            await reception.close(_DRAIN_SECONDS)
            runtime.denials.write_lines(at_once=True)
            # senders finish the request they have open, so the limit is the destination's
            await runtime.supervisor.stop(runtime.config.webhook.timeout + 2)
            await runtime.http.close()
            for pool in (runtime.pool, runtime.reading, runtime.probing):
                pool.terminate()
            log.info("stopped")

    app = FastAPI(
        title="Trading Signal Processor",
        version=settings.app_version,
        docs_url=None,  # /docs is ours: its assets come from the application
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,  # operation ids that read well in a client
        # nothing here exports OpenTelemetry, and asking whether it does costs every request
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=lifespan,
    )
    app.add_exception_handler(Exception, _internal_error)
    admin.install(app)
    for endpoints in (screener_endpoints, position_endpoints, delivery_endpoints, decision_endpoints):
        app.include_router(endpoints.router)
    ops.install(app)
    app.add_middleware(AccessLog)
    intake.install(app)  # last, and so the first to see a request
    return app


def _start_workers(runtime: Runtime, reception: Reception) -> None:
    start = runtime.supervisor.start
    start("clock", partial(run_clock, runtime, "clock"))
    start("intake", partial(reception.commit.run, "intake"))
    start("refused-posts", partial(reception.refused.run, "refused-posts"))
    start("denials", partial(denials.run, runtime, "denials"))
    start("queues", partial(queues.run, runtime, "queues"))
    screener.start(runtime)
    decision.start(runtime)
    reprocessing.start(runtime)
    delivery.start(runtime)
    start("live", partial(live.run, runtime))
    start("retention", partial(retention.run, runtime, "retention"))


async def _internal_error(_request: Request, _error: Exception) -> JSONResponse:
    """Give a clear answer for a defect of ours; its traceback is in the log."""
    return JSONResponse({"detail": "internal error; the log says more"}, 500)
