"""The resources of measurements: an engine, a database server, throw-away hosts; each starts on first use."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from benchmarks.application import Application
from benchmarks.database import Database
from benchmarks.measurement import alternate
from benchmarks.version import CHECKOUT, CURRENT, Version
from tests.hosts import edge as edges
from tests.hosts.checkout import source_archive
from tests.hosts.docker import CommandFailedError, call, docker, has_image
from tests.hosts.engine import POSTGRES_IMAGE, Engine
from tests.hosts.postgres import TestServer
from tests.hosts.ready import deploy_from_nothing, image_name, start_ready
from tests.hosts.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

# Off except where a measurement counts statements: counting slows every statement a little.
_SERVER_SETTINGS = ("shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=none")


@dataclass
class Bench:
    """Use as a context manager: it ends what it started. `quick`: only prove that it works, in seconds.

    `version` is the measured one. `compares`: versions alternate, so a measurement takes its figures once,
    without references.
    """

    quick: bool
    compares: bool = False
    version: Version = CURRENT
    _started: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _servers: dict[Version, TestServer] = field(default_factory=dict)
    _histories: dict[Version, Database] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    def alternate(
        self, rounds: int, figure: Callable[[], float], *references: Callable[[], float]
    ) -> tuple[tuple[float, ...], ...]:
        """Take figure and references in turn; of a comparison of versions only the figure, once."""
        if self.compares:
            return (figure(),), *(() for _ in references)
        return alternate(self.rounds(rounds), figure, *references)

    def rounds(self, number: int) -> int:
        """Return how often figures are taken within a measurement."""
        return 1 if self.quick or self.compares else number

    def repeats(self, number: int) -> int:
        """Return how often a request is repeated for one figure."""
        return 1 if self.quick else number

    def seconds(self, duration: float) -> float:
        """Return the duration of one take, in seconds."""
        return min(duration, 1.0 if self.compares else 2.0) if self.quick else duration

    def rows(self, number: int) -> int:
        """Return the number of rows of a table, or of signals of a run."""
        return max(1, number // 50) if self.quick else number

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        """Yield an empty database, migrated by the measured version."""
        server = self._server
        name = server.create()
        try:
            yield Database(server.url(name))
        finally:
            server.drop(name)

    def application(
        self,
        database: Database,
        tickers: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        destinations: tuple[dict[str, object], ...] = (),
    ) -> Application:
        """Return the application of the measured version."""
        return Application(database.url, tickers, environment or {}, destinations, version=self.version)

    @contextlib.contextmanager
    def edge(self, application: Application) -> Iterator[edges.Edge]:
        """Yield the edge in front of an application: HAProxy as a process of this machine."""
        with tempfile.TemporaryDirectory(prefix="bench-edge-") as folder:
            app = urlsplit(application.url).netloc
            made = edges.make_edge(self._haproxy, Path(folder), app=app, standin=app)
            with edges.running(made):
                yield made

    def pgbench(self, database: Database, script: str, *, clients: int, transactions: int) -> float:
        """Return the transactions a second of a pgbench script, over the network that the application uses.

        `transactions` are each client's: a time would count from before the clients have connected.
        """
        parts = urlsplit(database.url)
        done = call(
            [
                "docker", "run", "--rm", "--interactive", "--network", "host",
                "--env", f"PGPASSWORD={parts.password}", "--entrypoint", "pgbench", POSTGRES_IMAGE,
                f"--host={parts.hostname}", f"--port={parts.port}", f"--username={parts.username}",
                "--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=1",
                f"--transactions={transactions}", "--file=/dev/stdin", parts.path.lstrip("/"),
            ],
            stdin=script.encode(),
            timeout=300,
        ).require()  # fmt: skip
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("tps ="))
        return float(line.split()[2])

    @property
    def history(self) -> Database:
        """Return a database with a million ended signals; each version has its own."""
        if self.version not in self._histories:
            database = self._started.enter_context(self.database())
            database.store_history(self.rows(1_000_000))
            self._histories[self.version] = database
        return self._histories[self.version]

    @cached_property
    def engine(self) -> Engine:
        """Return the machine's Docker engine."""
        return self._started.enter_context(Engine(CHECKOUT))

    @cached_property
    def stack(self) -> Stack:
        """Return the stack deployed on its own throw-away host."""
        self.engine  # noqa: B018  # hosts run on it
        source, image = source_archive(CHECKOUT), image_name(CHECKOUT)
        if not has_image(image):
            deploy_from_nothing(source, image).result.require()
        return Stack(self._started.enter_context(start_ready(image, source, "bench")))

    @cached_property
    def _haproxy(self) -> Path:
        """Return a folder for PATH with `haproxy`; the engine's packages make apt know Debian 13."""
        folders = (
            Path(self._started.enter_context(tempfile.TemporaryDirectory(prefix="bench-haproxy-")))
            for _ in range(2)
        )
        try:
            return edges.unpack_haproxy(next(folders))
        except CommandFailedError:
            self.engine  # noqa: B018  # it has to run before
            return edges.unpack_haproxy(next(folders))

    @property
    def _server(self) -> TestServer:
        """Return the one server, with a template database that the version has migrated."""
        if self.version not in self._servers:
            server = TestServer(self._base_url, self.version.checkout, self.version.python)
            self._servers[self.version] = self._started.enter_context(server)
        return self._servers[self.version]

    @cached_property
    def _base_url(self) -> str:
        """Return the URL of a container of the product's image, or of the server at TEST_DATABASE_URL."""
        given = os.environ.get("TEST_DATABASE_URL")
        return given or self._started.enter_context(self.engine.postgres(*_SERVER_SETTINGS))

    def engine_version(self) -> str:
        """Return the engine's version; with an external server none is needed."""
        if os.environ.get("TEST_DATABASE_URL"):
            return "not used; PostgreSQL at TEST_DATABASE_URL"
        self.engine  # noqa: B018  # it has to run before it can be asked
        return docker("version", "--format", "{{.Server.Version}}")
