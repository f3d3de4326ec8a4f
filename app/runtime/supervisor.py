"""Keep the background workers running, and know whether they are alive."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial

import structlog

from app import metrics
from app.errors import describe

log = structlog.get_logger(__name__)

SILENT_AFTER_SECONDS = 30.0
_BACKOFF_FIRST, _BACKOFF_LIMIT, _RAN_WELL_SECONDS = 0.1, 5.0, 10.0

Run = Callable[[], Awaitable[None]]

# The name of the worker that the current task belongs to; tasks of requests have the default.
acting_for: ContextVar[str] = ContextVar("acting_for", default="a request")


@dataclass(slots=True)
class _Worker:
    name: str
    run: Run
    beat_at: float = field(default_factory=time.monotonic)
    beats: int = 0
    restarts: int = 0
    error: str = ""
    failure: str = ""
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What `/health` reports of one worker. `silent_seconds` is the time since its last beat.

    `failure` says what its last run ended with, empty once it has finished a turn since.
    """

    alive: bool
    silent_seconds: float
    restarts: int
    error: str
    failure: str = ""


class Supervisor:
    """Runs named workers; one that raises or returns is started again after 0.1 s … 5 s.

    `transient_errors` are expected while a service is unavailable: they are logged without a traceback.
    """

    def __init__(self, transient_errors: tuple[type[Exception], ...]) -> None:
        self._transient_errors = transient_errors
        self._workers: dict[str, _Worker] = {}

    def start(self, name: str, run: Run) -> None:
        """Start `run()` as the worker `name`; the name is what it beats with.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._workers:
            raise ValueError(f"a worker named {name!r} is running already")
        worker = self._workers[name] = _Worker(name, run)
        metrics.WORKER_RESTARTS.labels(name)  # there from the start, at 0
        worker.task = asyncio.create_task(self._keep_running(worker), name=name)

    def heartbeat(self, name: str) -> Callable[[], None]:
        """Return `beat` of one worker, for what does not know the supervisor."""
        return partial(self.beat, name)

    def beat(self, name: str) -> None:
        """Record a heartbeat of the worker. Due once a turn, and at least every 30 s while it waits."""
        worker = self._workers[name]
        worker.beat_at = time.monotonic()
        worker.beats += 1
        if worker.beats > 1:  # a turn has passed since it was started again
            worker.failure = ""

    def states(self) -> dict[str, WorkerState]:
        """Return every worker's state by name."""
        now = time.monotonic()
        return {
            worker.name: WorkerState(
                alive=worker.task is not None
                and not worker.task.done()
                and now - worker.beat_at < SILENT_AFTER_SECONDS,
                silent_seconds=round(now - worker.beat_at, 1),
                restarts=worker.restarts,
                error=worker.error,
                failure=worker.failure,
            )
            for worker in list(self._workers.values())  # a scrape reads it from another thread
        }

    async def stop(self, limit_seconds: float) -> None:
        """Cancel every worker and wait at most `limit_seconds`; log those that have not stopped."""
        tasks = [worker.task for worker in self._workers.values() if worker.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=limit_seconds)
            if left:
                log.warning("workers did not stop in time", workers=sorted(task.get_name() for task in left))
        self._workers.clear()

    async def _keep_running(self, worker: _Worker) -> None:
        backoff = _BACKOFF_FIRST
        acting_for.set(worker.name)
        while True:
            started = time.monotonic()
            try:
                await worker.run()
                error = "ended without an error"
            except self._transient_errors as reason:
                error = describe(reason)
                log.warning("worker failed; restarting", worker=worker.name, error=error)
            except Exception as reason:  # any exception: the worker is restarted
                error = describe(reason)
                log.exception("worker failed", worker=worker.name, error=error)
            worker.error = error
            worker.failure, worker.beats = error, 0
            worker.restarts += 1
            metrics.WORKER_RESTARTS.labels(worker.name).inc()
            if time.monotonic() - started > _RAN_WELL_SECONDS:
                backoff = _BACKOFF_FIRST
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _BACKOFF_LIMIT)
