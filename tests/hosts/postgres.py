"""A PostgreSQL server for tests, and fresh databases on it.

Every test gets its own database, copied from a template that was migrated once: about 50 ms instead of a
migration run. No test ever sees another one's rows.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg

if TYPE_CHECKING:
    from pathlib import Path

MIGRATION_SECONDS = 60


class MigrationError(RuntimeError):
    """`python -m app migrate` did not end with 0 on an empty database."""


class TestServer:
    """A server that tests may create databases in.

    `base_url` names the server with a user that may create databases and no database name, like
    `postgresql://postgres@127.0.0.1:5432`. `python` has what the application at `checkout` needs.
    """

    __test__ = False  # the name begins with Test, and pytest would collect it

    def __init__(self, base_url: str, checkout: Path, python: str = sys.executable) -> None:
        self._base_url = base_url
        self._checkout = checkout
        self._python = python
        self._template = f"test_template_{uuid.uuid4().hex[:12]}"
        # Kept for all statements: to connect takes a third of the time of one.
        self._loop = asyncio.new_event_loop()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    def __enter__(self) -> Self:
        self._execute(f'CREATE DATABASE "{self._template}"')
        try:
            self._migrate(self.url(self._template))
            self._loop.run_until_complete(self._cache_catalog())
        except MigrationError:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def url(self, database: str) -> str:
        """Return the address of one database on this server."""
        return urlunsplit(urlsplit(self._base_url)._replace(path=f"/{database}"))

    def create(self, *, is_migrated: bool = True) -> str:
        """Create an empty database, migrated unless it should have no table, and return its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        template = self._template if is_migrated else "template1"
        # Copied as files: the other way writes each page to the WAL, and leaves out the catalog's cache.
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        return name

    def drop(self, database: str) -> None:
        """Drop a database, ending the connections that a test left open."""
        self._execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def _migrate(self, url: str) -> None:
        # As a process: it is the command of a deployment, and does not affect our event loop.
        done = subprocess.run(
            [self._python, "-m", "app", "migrate"],
            cwd=self._checkout,
            env={**os.environ, "DATABASE_URL": url},
            capture_output=True,
            text=True,
            timeout=MIGRATION_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise MigrationError(
                f"python -m app migrate ended {done.returncode}:\n{done.stderr}{done.stdout}"
            )

    async def _cache_catalog(self) -> None:
        """Make the server write its cache of the template's catalog, as it does for the first session.

        Copies include this file. Without it each of the application's first sessions reads the catalog.
        """
        connection = await asyncpg.connect(self.url(self._template))
        await connection.close()

    def _execute(self, statement: str) -> None:
        self._loop.run_until_complete(self._executed(statement))

    async def _executed(self, statement: str) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.url("postgres"))
        await self._connection.execute(statement)

    def _end(self) -> None:
        self.drop(self._template)
        if self._connection is not None:
            self._loop.run_until_complete(self._connection.close())
        self._loop.close()
