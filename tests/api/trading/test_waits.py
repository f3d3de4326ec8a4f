"""Why a signal waits now: each reason holds while its cause does, and says until when."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.api.operator import ask
from tests.api.trading.receiver import always, take
from tests.api.trading.test_breaker import failing

if TYPE_CHECKING:
    from uuid import UUID

    from aiohttp import web

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received


async def waits_of(app: AppServer, signal_id: UUID) -> list[dict[str, Any]]:
    """The reasons for which a signal waits."""
    found: list[dict[str, Any]] = (await ask(app, "GET", f"/admin/signals/{signal_id}"))["waits"]
    return found


async def until_waiting(desk: Desk, app: AppServer, signal_id: UUID, *codes: str) -> list[dict[str, Any]]:
    """Wait until the signal waits for exactly these reasons."""
    seen: list[dict[str, Any]] = []

    async def is_so() -> bool:
        seen[:] = await waits_of(app, signal_id)
        return [each["code"] for each in seen] == list(codes)

    await desk.wait(app, is_so, lambda: f"{signal_id} waits for {seen}, not for {codes}")
    return seen


def seconds_until(reason: dict[str, Any]) -> float:
    """How long the reason lasts."""
    return (datetime.fromisoformat(reason["until"]) - datetime.now(UTC)).total_seconds()


async def test_a_buy_waits_for_a_fresh_list_and_a_sell_does_not(desk: Desk) -> None:
    desk.watch("http://127.0.0.1:1/never")
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    (reason,) = await until_waiting(desk, app, buy, "list_failing")
    assert "the screener fails" in reason["text"]
    assert reason["until"] is None
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell)
    assert await waits_of(app, sell) == []


async def test_a_pause_is_the_reason_until_it_ends(desk: Desk) -> None:
    app = await desk.open()
    await desk.order(app, "delivery/pause")
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "approved")
    await until_waiting(desk, app, buy, "paused")
    later = await desk.send(app, "AAPL", "buy")
    await desk.until(app, later, "approved")
    _, behind = await until_waiting(desk, app, later, "paused", "behind")
    assert behind["behind"] == str(buy)
    assert behind["text"].endswith(": Buy.")
    await desk.order(app, "delivery/resume")
    await desk.until(app, later, "forwarded")
    assert await waits_of(app, buy) == await waits_of(app, later) == []


async def test_an_open_request_and_what_is_behind_it(desk: Desk) -> None:
    answered = asyncio.Event()

    async def late(received: Received) -> web.StreamResponse:
        await answered.wait()
        return await take(received)

    desk.receiver.answer = late
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(1)
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell, "approved")
    await until_waiting(desk, app, buy, "answer")
    (behind,) = await until_waiting(desk, app, sell, "behind")
    assert behind["behind"] == str(buy)
    answered.set()
    await desk.settled(app)
    assert await waits_of(app, sell) == []


async def test_the_next_attempt_and_a_destination_that_asked_to_wait(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[60])
    desk.receiver.answer = always(503)
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    (attempt,) = await until_waiting(desk, app, buy, "attempt")
    assert 0 < seconds_until(attempt) <= 90
    desk.receiver.answer = always(429, **{"Retry-After": "45"})
    other = await desk.send(app, "NVDA", "buy")
    held, *_ = await until_waiting(desk, app, other, "held", "attempt")
    assert 0 < seconds_until(held) <= 46


async def test_an_open_circuit(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[0.05])
    app = await desk.open(forwarding_workers=4)
    await failing(desk, app)
    await desk.database.execute("UPDATE destinations SET probe_at = now() + interval '50 s'")
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "approved")
    found = await waits_of(app, buy)
    assert found[0]["code"] == "circuit"
    assert 0 < seconds_until(found[0]) <= 50


async def test_the_rate_limit_of_entries_and_not_of_exits(desk: Desk) -> None:
    """The limit of 2 a minute reserves 1 for exits: the second buy waits, a sell leaves."""
    desk.configure("webhook", max_req_per_min=2)
    app = await desk.open(dest_webhook_rate_limiting_enabled=True)
    await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    buy = await desk.send(app, "NVDA", "buy")
    (limit,) = await until_waiting(desk, app, buy, "limit")
    assert 0 < seconds_until(limit) <= 60
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell, "forwarded")
    second = await desk.send(app, "TSLA", "buy")
    await until_waiting(desk, app, second, "limit")
