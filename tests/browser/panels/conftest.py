"""Fixtures of the panels: an application with secrets that delivers to a real HTTP server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import asyncpg
import pytest_asyncio

from tests.api.trading.receiver import listening
from tests.browser.conftest import choose, serving
from tests.browser.panels.desk import LISTED, WEBHOOK_SECRET, Desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from tests.api.trading.receiver import Receiver
    from tests.browser.conftest import Application

SIGNING_SECRET = "whsec_c2lnbmluZy1zZWNyZXQtb2YtdGhlLXRlc3RzLTEyMzQ="
ELITE_AUTH = "the-token-of-finviz-elite"


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    """Run the destination."""
    async with listening() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def application(database_url: str, tmp_path: Path, receiver: Receiver) -> AsyncIterator[Application]:
    """Run an application that delivers to the receiver."""
    choose(tmp_path, *LISTED)
    (tmp_path / "webhook_config.json").write_text(json.dumps({"url": receiver.url}), "utf-8")
    secrets = {
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
        "WEBHOOK_SIGNING_SECRET": SIGNING_SECRET,
        "FINVIZ_ELITE_AUTH": ELITE_AUTH,
    }
    with serving(database_url, tmp_path, **secrets) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def desk(
    signed_in: Page, application: Application, receiver: Receiver, database_url: str, tmp_path: Path
) -> AsyncIterator[Desk]:
    """Sign in a person."""
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as database:
        yield Desk(signed_in, application, database, receiver, tmp_path)
