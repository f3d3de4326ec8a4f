"""The desk that every trading test sits at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest_asyncio

from tests.api.trading.desk import Desk
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
