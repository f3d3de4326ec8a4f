"""Fixtures: an edge, and the two servers behind it, neither of which runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.api.backend import Backend
from tests.hosts import edge as edges

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.hosts.edge import Edge


@pytest.fixture
def app() -> Backend:
    """Return the backend in the app container's place."""
    return Backend("app")


@pytest.fixture
def standin() -> Backend:
    """Return the backend that serves while the app is replaced."""
    return Backend("standin")


@pytest.fixture
def edge(haproxy: Path, tmp_path: Path, app: Backend, standin: Backend) -> Iterator[Edge]:
    """Start an edge for these two, neither of which runs."""
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin=standin.address)
    with edges.running(made):
        yield made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Create a client whose time limit is longer than the edge's."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session
