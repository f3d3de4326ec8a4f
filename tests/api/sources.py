"""Sources in the operator's file, and posts with their secrets."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from app.config.model import WEBHOOK_FILE
from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.api.conftest import AppServer

MAIN, DESK, DESK_BEFORE, ROBOT = "main-secret-0", "desk-secret-1", "desk-secret-before", "robot-secret-2"
DESK_SOURCE = {"name": "desk", "secret": DESK, "previous_secret": DESK_BEFORE}
ROBOT_SOURCE = {"name": "Röbot 2", "secret": ROBOT}
SECONDS = 30


def configure(folder: Path, *sources: Mapping[str, Any]) -> None:
    """Write the sources into the operator's file."""
    (folder / WEBHOOK_FILE).write_text(json.dumps({"sources": sources}))


async def post(app: AppServer, header: str, path: str = "/webhook/in", **fields: Any) -> tuple[int, Any]:
    """Post an alert with the secret as a header."""
    body = {"ticker": "NVDA", "action": "buy", **fields}
    headers = {"X-Webhook-Secret": header} if header else {}
    async with app.http.post(path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def until(app: AppServer, is_there: Callable[[], object]) -> None:
    """Wait until the application has noticed the change."""
    async with asyncio.timeout(SECONDS):
        while not is_there():
            await app.context.wakeups.wait("changed", 0.1)


async def refused_posts(app: AppServer, count: int) -> list[Any]:
    """Wait until so many refused posts are stored."""
    async with asyncio.timeout(SECONDS):
        while len(posts := (await ask(app, "GET", "/admin/refused"))["posts"]) < count:
            await app.context.wakeups.wait("changed", 0.1)
    return list(posts)


async def signals(app: AppServer, **query: str) -> list[tuple[str, str]]:
    """Return ticker and source of each listed signal, newest first."""
    listed = (await ask(app, "GET", "/admin/signals", **query))["signals"]
    return [(each["ticker"], each["source"]) for each in listed]
