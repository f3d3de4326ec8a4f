"""The composition root: what a process is made of, and in which order it starts and stops."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec

import structlog
from fastapi import FastAPI

from app import config
from app.db.pool import open_pool
from app.runtime import Runtime
from app.settings import Settings
from app.supervisor import Supervisor
from app.wakeups import Wakeups

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Build the application; nothing runs before its lifespan starts.

    Raises:
        ConfigurationError: a configuration file is wrong (SPEC §7: the start stops).
    """
    in_force = config.load(settings.config_dir, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = await open_pool(settings.database_url, settings.database_pool_size)
        runtime = Runtime(
            settings=settings,
            config=in_force,
            pool=pool,
            wakeups=Wakeups(),
            supervisor=Supervisor(),
            started_at=time.monotonic(),
        )
        app.state.runtime = runtime
        _start_workers(runtime)
        log.info("started", version=settings.app_version)
        try:
            yield
        finally:
            # senders finish the request they have open, so the limit is the destination's
            await runtime.supervisor.stop(runtime.config.webhook.timeout + 2)
            pool.terminate()
            log.info("stopped")

    app = FastAPI(
        title="Trading Signal Processor",
        version=settings.app_version,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    if find_spec("app.admin") and find_spec("app.admin.live"):
        import_module("app.admin").install(app)
    return app


def _start_workers(runtime: Runtime) -> None:
    start, settings = runtime.supervisor.start, runtime.settings
    if find_spec("app.screener") and find_spec("app.screener.engine"):
        start("screener", partial(import_module("app.screener.engine").run, runtime))
    if find_spec("app.decision") and find_spec("app.decision.worker"):
        for number in range(1, settings.worker_concurrency + 1):
            name = f"decision-{number}"
            start(name, partial(import_module("app.decision.worker").run, runtime, name))
    if find_spec("app.delivery") and find_spec("app.delivery.sender"):
        for number in range(1, settings.forwarding_workers + 1):
            name = f"sender-{number}"
            start(name, partial(import_module("app.delivery.sender").run, runtime, name))
    if find_spec("app.admin") and find_spec("app.admin.live"):
        start("live", partial(import_module("app.admin.live").run, runtime))
