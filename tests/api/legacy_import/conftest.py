"""Fixtures: a database of the replaced system, and settings to import it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from app.settings import Settings
    from tests.hosts.postgres import TestServer

    Database = asyncpg.Connection[asyncpg.Record]
    MakeSettings = Callable[..., Settings]


@pytest.fixture
def source_url(database_server: TestServer) -> Iterator[str]:
    """Create an empty database for the replaced system, and return its address."""
    name = database_server.create(is_migrated=False)
    yield database_server.url(name)
    database_server.drop(name)


@pytest_asyncio.fixture
async def source(source_url: str) -> AsyncIterator[Database]:
    """Connect to the replaced system's database, which is empty."""
    connection = await asyncpg.connect(source_url)
    yield connection
    await connection.close()


@pytest.fixture
def settings_of(make_settings: MakeSettings, source_url: str) -> MakeSettings:
    """Return settings for an import from the replaced system's database."""

    def make(**changes: Any) -> Settings:
        return make_settings(**{"legacy_database_url": source_url, **changes})

    return make
