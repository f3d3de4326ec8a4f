"""Fixtures that every kind of test shares: an engine, a database, a browser, hosts with the stack on them."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hosts.engine import Engine
from tests.hosts.images import install_packages
from tests.hosts.postgres import TestServer

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine on this machine, installed and started if there is none."""
    with Engine(CHECKOUT) as running:
        yield running


@pytest.fixture(scope="session")
def database_server(request: pytest.FixtureRequest) -> Iterator[TestServer]:
    """A PostgreSQL server: the one at TEST_DATABASE_URL, or a container of the product's own image."""
    with contextlib.ExitStack() as stack:
        base_url = os.environ.get("TEST_DATABASE_URL")
        if base_url is None:
            running: Engine = request.getfixturevalue("engine")
            base_url = stack.enter_context(running.postgres())
        yield stack.enter_context(TestServer(base_url, CHECKOUT))


@pytest.fixture
def database_url(database_server: TestServer) -> Iterator[str]:
    """The address of an empty, migrated database that only this test uses (`postgresql://…`)."""
    name = database_server.create()
    yield database_server.url(name)
    database_server.drop(name)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The system's Chromium; Debian's package is installed where there is none."""
    found = shutil.which("chromium")
    if found is None:
        install_packages("chromium")
        found = shutil.which("chromium")
    assert found, "the package chromium brought no program of that name"
    return found
