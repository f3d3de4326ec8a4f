"""A temporary outage of the test's own database; the server continues to run."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def away(database_url: str) -> AsyncIterator[None]:
    """Cut every connection to the database and refuse new ones until the block ends."""
    url = URL(database_url)
    name = url.path.removeprefix("/")
    server = await asyncpg.connect(str(url.with_path("/postgres")))
    try:
        await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        yield
    finally:
        await server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await server.close()
