"""What measurements run on: an engine, a database server, throw-away hosts; each starts when asked for."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from benchmarks.application import CHECKOUT
from benchmarks.database import Database
from tests.hosts.checkout import source_archive
from tests.hosts.docker import call, docker, has_image
from tests.hosts.engine import POSTGRES_IMAGE, Engine
from tests.hosts.postgres import TestServer
from tests.hosts.ready import deploy_from_nothing, image_name, start_ready
from tests.hosts.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

# Off but where a measurement counts statements: counting costs a little of every statement.
_SERVER_SETTINGS = ("shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=none")


@dataclass
class Bench:
    """Use as a context manager: what was started ends with it. `quick`: show that it works, in seconds."""

    quick: bool
    _started: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    def rounds(self, number: int) -> int:
        """How often figure and reference alternate."""
        return 1 if self.quick else number

    def seconds(self, duration: float) -> float:
        """How long one take lasts."""
        return min(duration, 2.0) if self.quick else duration

    def rows(self, number: int) -> int:
        """How many rows a table gets, or how many signals a run."""
        return max(1, number // 50) if self.quick else number

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        """An empty, migrated database."""
        name = self._server.create()
        try:
            yield Database(self._server.url(name))
        finally:
            self._server.drop(name)

    def pgbench(self, database: Database, script: str, *, clients: int, transactions: int) -> float:
        """Transactions a second of a pgbench script, over the same network that the application uses.

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

    @cached_property
    def history(self) -> Database:
        """A database with a million signals that have ended; whoever adds to it ends what they added."""
        database = self._started.enter_context(self.database())
        database.store_history(self.rows(1_000_000))
        return database

    @cached_property
    def engine(self) -> Engine:
        """The machine's Docker engine."""
        return self._started.enter_context(Engine(CHECKOUT))

    @cached_property
    def source(self) -> bytes:
        """The code under test as hosts clone it."""
        return source_archive(CHECKOUT)

    @cached_property
    def stack(self) -> Stack:
        """The product deployed on a throw-away host of its own."""
        self.engine  # noqa: B018  # hosts run on it
        image = image_name(CHECKOUT)
        if not has_image(image):
            deploy_from_nothing(self.source, image).result.require()
        return Stack(self._started.enter_context(start_ready(image, self.source, "bench")))

    @cached_property
    def _server(self) -> TestServer:
        base_url = self._started.enter_context(self.engine.postgres(*_SERVER_SETTINGS))
        return self._started.enter_context(TestServer(base_url, CHECKOUT))

    def engine_version(self) -> str:
        """The engine's own version."""
        self.engine  # noqa: B018  # it has to run before it can be asked
        return docker("version", "--format", "{{.Server.Version}}")
