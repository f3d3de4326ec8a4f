"""Fixtures that every kind of test shares: a database and a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hosts.postgres import TestServer

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def database_server() -> Iterator[TestServer]:
    """A PostgreSQL server: the one at TEST_DATABASE_URL."""
    with TestServer(os.environ["TEST_DATABASE_URL"], CHECKOUT) as server:
        yield server


@pytest.fixture
def database_url(database_server: TestServer) -> Iterator[str]:
    """The address of an empty, migrated database that only this test uses (`postgresql://…`)."""
    name = database_server.create()
    yield database_server.url(name)
    database_server.drop(name)
