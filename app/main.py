"""The composition root: what a process is made of, and in which order it starts and stops."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog
from fastapi import FastAPI

from app import admin, intake, metrics
from app.admin import live
from app.alarms import heartbeat, outbox
from app.alarms import routes as alarm_routes
from app.alarms.targets import Target, targets_of
from app.alarms.watch import Watch
from app.config.store import ConfigStore, Opening
from app.context import AppContext
from app.db import address
from app.db import clock as db_clock
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import KEPT_PLANS, open_pool
from app.db.reading import open_reading_pool
from app.decision import reprocessing
from app.decision import routes as decision_routes
from app.decision import worker as decision
from app.intake.service import IntakeService
from app.ops import certificate, health, queue_sampling, retention
from app.orders import routes as order_routes
from app.orders import sender
from app.orders.repository import lock_approvals_exclusive
from app.orders.transport import open_client
from app.positions import risk_worker
from app.positions import routes as position_routes
from app.runtime import denials
from app.runtime.supervisor import Supervisor
from app.runtime.wakeups import Wakeups
from app.screener import engine as screener
from app.screener import routes as screener_routes
from app.settings import Settings
from app.web import authentication
from app.web.hub import Hub
from app.web.middleware import AccessLog
from app.web.routing import add_routes

log = structlog.get_logger(__name__)

_DRAIN_SECONDS = 2.0


def create_app(settings: Settings, start: Opening, *, started_at: float | None = None) -> FastAPI:
    """Build the application on the configuration it starts with; nothing runs before its lifespan starts.

    `started_at` is when the process started, in seconds of `time.monotonic()`; None: when the lifespan did.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        url, sessions = settings.database_url, dict[int, str]()
        context = AppContext(
            settings=settings,
            config=start.config,
            pool=await open_pool(url, settings.database_pool_size, settings=KEPT_PLANS, users=sessions),
            reading=await open_reading_pool(url),
            probing=await open_pool(url, 1, role="health"),
            sessions=sessions,
            http=open_client(),
            wakeups=Wakeups(),
            supervisor=Supervisor(TRANSIENT_DB_ERRORS),
            started_at=time.monotonic() if started_at is None else started_at,
            config_problems=start.problems,
        )
        targets = targets_of(settings.notify_urls.split())
        context.notification_targets = {target.key: target.name for target in targets}
        authentication.signing_key(settings.admin_token)  # before any request: it takes 50 ms
        store = ConfigStore(
            context.pool,
            settings,
            context.wakeups,
            start,
            apply=context.apply_config,
            lock_approvals=lock_approvals_exclusive,
        )
        await store.first_look()  # a pause of another process holds before anything is delivered
        intake_service = IntakeService(context)
        app.state.context, app.state.config_store = context, store
        app.state.intake, app.state.health = intake_service, health.Health(context)
        ended = app.state.ended_sessions = authentication.EndedSessions(context.pool)
        beat = context.supervisor.heartbeat
        context.supervisor.start("sessions", partial(authentication.run_sessions, ended, beat("sessions")))
        metrics.WORKER_UP.watch(context.supervisor.states)
        metrics.CERTIFICATE_DAYS_LEFT.watch(partial(certificate.days_left, context))
        metrics.BUYS_PAUSED.set_function(lambda: float(context.config.system.buys_paused))
        metrics.BUILD_INFO.labels(settings.app_version).set(1)
        context.supervisor.start("config", partial(store.run, beat("config")))
        _start_workers(context, intake_service, app.state.hub)
        _start_alarms(context, targets)
        if ignored := address.parse(url).ignored:
            log.warning("parameters of DATABASE_URL have no effect", parameters=list(ignored))
        log.info("started", version=settings.app_version, pool=settings.database_pool_size)
        try:
            yield
        finally:
            await intake_service.close(_DRAIN_SECONDS)
            context.denials.write_lines(at_once=True)
            # senders finish the request they have open, so the limit is that of the slowest destination
            await context.supervisor.stop(max(each.timeout for each in context.config.destinations) + 2)
            await context.http.close()
            for pool in (context.pool, context.reading, context.probing):
                pool.terminate()
            log.info("stopped")

    app = FastAPI(
        title="Trading Signal Processor",
        version=settings.app_version,
        docs_url=None,  # /docs is ours: its assets come from the application
        redoc_url=None,
        # nothing here exports OpenTelemetry, and the check for it would slow every request
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=lifespan,
    )
    admin.install(app, legacy_api=settings.legacy_api)
    modules = (screener_routes, position_routes, order_routes, decision_routes, alarm_routes, health)
    add_routes(app, (module.router for module in modules))
    app.add_middleware(AccessLog)
    intake.install(app)
    return app


def _start_workers(context: AppContext, intake_service: IntakeService, hub: Hub) -> None:
    start, beat = context.supervisor.start, context.supervisor.heartbeat
    start("clock", partial(db_clock.run, context.clock, context.pool, beat("clock")))
    start("intake", partial(intake_service.group_commit.run, "intake"))
    start("refused-posts", partial(intake_service.run_records, "refused-posts"))
    start("denials", partial(denials.run, context.denials, beat("denials")))
    start("queues", partial(queue_sampling.run, context, "queues"))
    screener.start(context)
    decision.start(context)
    reprocessing.start(context)
    sender.start(context)
    risk_worker.start(context)
    start("live", partial(live.run, context, hub))
    start("retention", partial(retention.run, context, "retention"))


def _start_alarms(context: AppContext, targets: Sequence[Target]) -> None:
    start, beat = context.supervisor.start, context.supervisor.heartbeat
    watch = Watch(context, targets)
    start("alarms", partial(watch.run, "alarms"))
    for number, target in enumerate(targets, 1):
        start(f"notify-{number}", partial(outbox.run, context, target, f"notify-{number}"))
    if url := context.settings.heartbeat_url:
        start("heartbeat", partial(heartbeat.run, url, lambda: watch.is_all_well, beat("heartbeat")))
