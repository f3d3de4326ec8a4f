"""The desk that every trading test sits at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from app.alarms import outbox, watch
from tests.api.trading.desk import Desk, assert_orders_match
from tests.api.trading.receiver import Receiver, listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """The destination; it outlives the applications that send to it."""
    async with listening() as running:
        yield running


@pytest_asyncio.fixture
async def desk(
    database_url: str,
    receiver: Receiver,
    tmp_path: Path,
    start_app: Callable[..., Awaitable[AppServer]],
) -> AsyncIterator[Desk]:
    """A desk whose list is AAPL, NVDA, TSLA."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=2) as database:
        made = Desk(start_app, receiver, tmp_path, database)
        made.watch("list:AAPL,NVDA,TSLA")
        yield made
        await assert_orders_match(database)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for alarms, retry messages and end alarms within fractions of a second."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watch, "SEEN_EVERY_SECONDS", 0.2)
    monkeypatch.setattr(watch, "END_AFTER_SECONDS", 1.0)
    monkeypatch.setattr(watch, "COST_FACTOR", 1)
    monkeypatch.setattr(watch, "START_SECONDS", 0.0)
    monkeypatch.setattr(outbox, "RETRY_SECONDS", (0.2,))
    monkeypatch.setattr(outbox, "POLL_SECONDS", 0.1)


@pytest_asyncio.fixture
async def inbox() -> AsyncIterator[Receiver]:
    """A target of notifications."""
    async with listening() as running:
        yield running
