"""Configuration files that people write by hand or put back stop no exit and end no newer pause."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.api.operator import ask
from tests.api.test_configuration import until
from tests.api.trading.receiver import listening

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

SYSTEM, WEBHOOK, FINVIZ = "system_config.json", "webhook_config.json", "finviz_config.json"
LIST = {"strategies": [{"name": "mine", "url": "list:AAPL"}]}


async def sent(app: AppServer, side: str) -> str:
    """Post an alert; return its id."""
    async with app.http.post("/webhook/in", json={"ticker": "AAPL", "side": side}) as answer:
        assert answer.status == 202
        return str((await answer.json())["signal_id"])


async def forwarded(app: AppServer, signal_id: str) -> bool:
    """Whether the signal is delivered within 5 s."""
    query = "SELECT status FROM signals WHERE id = $1"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while await app.context.pool.fetchval(query, signal_id) != "forwarded":
                await app.context.wakeups.wait("changed", 0.1)
            return True
    return False


@pytest.mark.parametrize("name", [SYSTEM, WEBHOOK])
async def test_a_number_that_json_has_no_word_for_stops_no_exit_and_no_pause(
    start_app: StartApp, tmp_path: Path, name: str
) -> None:
    (tmp_path / FINVIZ).write_text(json.dumps(LIST))
    first = await start_app()
    await forwarded(first, await sent(first, "buy"))
    (tmp_path / name).write_text('{"mine": 1e999}')
    await until(first, lambda: name in first.context.config_problems)
    status, checks = await health(first)
    assert status == 200
    assert checks["workers"]["status"] == "ok", checks["workers"]
    assert f"config/{name}: line 1: " in checks["configuration"]["reason"]
    assert (await ask(first, "POST", "/admin/delivery/pause"))["delivery_paused"]
    assert not (await ask(first, "POST", "/admin/delivery/resume"))["delivery_paused"]
    first.stop()
    again = await start_app()
    assert await forwarded(again, await sent(again, "sell"))


async def health(app: AppServer) -> tuple[int, dict[str, dict[str, str]]]:
    """The status of /health, and its checks."""
    async with app.http.get("/health") as answer:
        return answer.status, (await answer.json())["checks"]


@pytest.mark.parametrize("url", [False, 0, [], {}])
async def test_a_destination_that_is_no_text_is_not_taken_for_paper(
    start_app: StartApp, tmp_path: Path, url: object
) -> None:
    (tmp_path / FINVIZ).write_text(json.dumps(LIST))
    async with listening() as receiver:
        app = await start_app(dest_webhook_url=receiver.url)
        (tmp_path / WEBHOOK).write_text(json.dumps({"url": url}))
        await until(app, lambda: WEBHOOK in app.context.config_problems)
        assert (await ask(app, "GET", "/admin/webhook/config"))["problem"]
        assert await forwarded(app, await sent(app, "buy"))
        app.stop()
        again = await start_app(dest_webhook_url=receiver.url)
        assert await forwarded(again, await sent(again, "sell"))
        assert len(receiver.received) == 2
