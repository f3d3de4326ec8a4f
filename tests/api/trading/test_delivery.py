"""Deliveries to a real HTTP destination and to paper: the request, and what follows from each answer."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from app.orders.destination import destination_of
from tests.api.trading.receiver import Received, always, in_turn, listening, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.trading.desk import Desk

SIGNING_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

NO_RESERVE = {"per_min": 0, "per_hour": 0}


async def test_the_alert_arrives_byte_for_byte_signed_and_with_its_id(desk: Desk) -> None:
    app = await desk.open(webhook_signing_secret=SIGNING_SECRET, webhook_secret="hush")
    alert = (
        b'{ "ticker" : " nvda","secret":"hush", "action":"BUY","price":1.10,'
        b'\n"big":12345678901234567890123, "t":"\\u00e9"}'
    )
    async with app.http.post("/webhook/in", data=alert) as answer:
        signal_id = (await answer.json())["signal_id"]
    (got,) = await desk.receiver.count(1)
    assert got.body == (
        b'{ "ticker" : "NVDA","action":"buy","price":1.10,\n"big":12345678901234567890123, "t":"\\u00e9"'
        b',"signal_id":"' + signal_id.encode() + b'"}'
    )
    assert got.webhook_id == signal_id
    assert got.headers["content-type"] == "application/json"
    Webhook(SIGNING_SECRET).verify(got.body, got.headers)


async def test_without_a_destination_everything_goes_to_paper(desk: Desk) -> None:
    app = await desk.open(live=False)
    signal_id = await desk.send(app, "AAPL", "buy", note="x")
    assert (await desk.until(app, signal_id))["status"] == "forwarded"
    kept = await desk.database.fetchrow("SELECT * FROM paper_deliveries")
    assert kept is not None
    assert kept["webhook_id"] == str(signal_id)
    assert json.loads(kept["headers"])["webhook-id"] == str(signal_id)
    assert json.loads(kept["body"])["note"] == "x"
    (attempt,) = await desk.attempts(signal_id)
    assert (attempt["destination"], attempt["outcome"]) == ("paper", "delivered")
    assert await desk.open_positions() == {"AAPL": 1}


@pytest.mark.parametrize("status", [302, 400, 404])
async def test_a_refusal_is_final(desk: Desk, status: int) -> None:
    desk.receiver.answer = always(status, Location=desk.receiver.url)
    app = await desk.open()
    row = await desk.until(app, await desk.send(app, "AAPL", "buy"))
    assert (row["status"], row["attempts"]) == ("failed", 1)
    assert row["reason"] == f"refused: HTTP {status}"
    assert len(desk.receiver.received) == 1
    assert await desk.open_positions() == {}


async def test_an_order_that_was_not_accepted_is_retried_with_the_same_id(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[0.05, 0.1])
    desk.receiver.answer = in_turn(503, 408, 503)
    app = await desk.open()
    signal_id = await desk.send(app, "AAPL", "buy")
    row = await desk.until(app, signal_id)
    assert (row["status"], row["attempts"]) == ("forwarded", 4)
    assert {received.webhook_id for received in desk.receiver.received} == {str(signal_id)}
    assert len({received.body for received in desk.receiver.received}) == 1
    attempts = await desk.attempts(signal_id)
    assert [attempt["outcome"] for attempt in attempts] == ["not_taken"] * 3 + ["delivered"]
    assert [attempt["number"] for attempt in attempts] == [1, 2, 3, 4]
    assert all(attempt["ended_at"] for attempt in attempts)


async def test_an_unavailable_destination_gets_the_order_when_it_is_back(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[0.2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = await desk.start_app(
        dest_webhook_url=f"http://127.0.0.1:{port}/hook", dest_webhook_rate_limiting_enabled=False
    )
    signal_id = await desk.send(app, "AAPL", "buy")

    async def tried() -> bool:
        return any(attempt["ended_at"] for attempt in await desk.attempts(signal_id))

    await desk.wait(app, tried, lambda: "no attempt ended")
    first = (await desk.attempts(signal_id))[0]
    assert (first["outcome"], first["http_status"]) == ("not_taken", None)
    async with listening(port) as back:
        assert (await desk.until(app, signal_id))["status"] == "forwarded"
        assert [received.webhook_id for received in back.received] == [str(signal_id)]


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_an_unknown_outcome_is_final_for_a_buy_and_retried_for_a_sell(desk: Desk, status: int) -> None:
    desk.configure("webhook", retry_seconds=[0.05])
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    app = await desk.open()
    desk.receiver.answer = in_turn(status)
    buy = await desk.until(app, await desk.send(app, "AAPL", "buy"))
    desk.receiver.answer = in_turn(status)
    sell = await desk.until(app, await desk.send(app, "NVDA", "sell"))
    assert (buy["status"], buy["attempts"]) == ("failed", 1)
    assert "outcome unknown" in buy["reason"]
    assert (sell["status"], sell["attempts"]) == ("forwarded", 2)
    assert await desk.open_positions() == {}


async def test_silence_after_sending_is_an_unknown_outcome(desk: Desk) -> None:
    asked = asyncio.Event()

    async def never(_: Received) -> web.StreamResponse:
        await asked.wait()
        return web.Response()

    desk.receiver.answer = never
    app = await desk.open(dest_webhook_timeout=0.3)
    buy = await desk.send(app, "AAPL", "buy")
    assert "timed out after 0.3 s" in (await desk.until(app, buy))["reason"]
    assert [attempt["outcome"] for attempt in await desk.attempts(buy)] == ["unknown"]
    asked.set()


async def test_429_holds_the_whole_destination_until_retry_after(desk: Desk) -> None:
    async def once(_: Received) -> web.StreamResponse:
        desk.receiver.answer = take
        return web.Response(status=429, headers={"Retry-After": "2"})

    desk.configure("webhook", retry_seconds=[0.05])
    desk.receiver.answer = once
    app = await desk.open()
    held = await desk.send(app, "AAPL", "buy")
    await desk.until(app, held, "approved")

    async def told() -> bool:
        return bool(await desk.database.fetchval("SELECT count(*) FROM destinations"))

    await desk.wait(app, told, lambda: "the hold was not written down")
    other = await desk.send(app, "NVDA", "buy")
    assert {(await desk.until(app, each))["status"] for each in (held, other)} == {"forwarded"}
    first, *later = desk.receiver.received
    assert len(later) == 2
    assert all(received.at - first.at >= 1.95 for received in later)
    kept = await desk.database.fetchval("SELECT destination FROM destinations")
    assert "password" not in kept


async def test_429_locks_the_destination_before_its_counts(desk: Desk) -> None:
    """Failures that open the circuit lock in this order, too: two outcomes never deadlock."""

    async def once(_: Received) -> web.StreamResponse:
        desk.receiver.answer = take
        return web.Response(status=429, headers={"Retry-After": "1"})

    desk.configure("webhook", retry_seconds=[0.05])
    desk.receiver.answer = once
    app = await desk.open()
    key = destination_of(app.context.config.webhook.url).key
    await desk.database.execute("INSERT INTO destinations VALUES ($1, now(), 'an earlier hold')", key)
    async with desk.database.acquire() as other, other.transaction():
        await other.execute("SELECT FROM destinations WHERE destination = $1 FOR UPDATE", key)
        signal = await desk.send(app, "AAPL", "buy")

        async def waits() -> bool:
            return bool(
                await desk.database.fetchval(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))",
                    other.get_server_pid(),
                )
            )

        await desk.wait(app, waits, lambda: "nothing waits for the destination")
        await other.execute("SET LOCAL lock_timeout = '300ms'")  # less than the server's deadlock timeout
        await other.execute(
            """INSERT INTO attempt_counts (destination, seconds, start, ends)
               SELECT $1, 60, minute, 0
               FROM generate_series(date_trunc('minute', now()) - interval '5 min',
                                    date_trunc('minute', now()) + interval '5 min', '1 min') AS minute
               ON CONFLICT (destination, seconds, start) DO UPDATE SET ends = attempt_counts.ends""",
            key,
        )
    assert (await desk.until(app, signal))["status"] == "forwarded"


async def test_of_a_huge_or_odd_answer_two_kilobytes_are_stored(desk: Desk) -> None:
    async def huge(_: Received) -> web.StreamResponse:
        return web.Response(body=b"\0\xff" * 5_000_000)

    desk.receiver.answer = huge
    app = await desk.open()
    signal_id = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, signal_id))["status"] == "forwarded"
    (attempt,) = await desk.attempts(signal_id)
    assert attempt["response"] == b"\0\xff" * 1024


async def test_a_body_that_cannot_be_sent_fails_alone(desk: Desk) -> None:
    await desk.database.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body)
           VALUES (gen_random_uuid(), 'approved', 'buy', 'AAPL', now() + interval '1 hour', '{"broken')"""
    )
    broken = await desk.database.fetchval("SELECT id FROM signals")
    app = await desk.open()
    assert "the alert cannot be written as a request" in (await desk.until(app, broken))["reason"]
    assert (await desk.until(app, await desk.send(app, "AAPL", "buy")))["status"] == "forwarded"


async def test_a_ticker_keeps_its_order_with_many_senders_and_two_applications(desk: Desk) -> None:
    open_now: set[str] = set()

    async def slowly(received: Received) -> web.StreamResponse:
        ticker = received.alert["ticker"]
        assert ticker not in open_now  # it is sent only after the previous one has its answer
        open_now.add(ticker)
        await asyncio.sleep(0.002 * (received.alert["n"] % 5))  # answers of different length, as brokers give
        open_now.discard(ticker)
        return await take(received)

    desk.receiver.answer = slowly
    desk.watch("list:" + ",".join(f"T{number}" for number in range(6)))
    apps = [await desk.open(forwarding_workers=8), await desk.open(forwarding_workers=8)]
    for number in range(90):
        await desk.send(apps[number % 2], f"T{number % 6}", "buy", n=number)
    await desk.settled(apps[0])
    assert len(desk.receiver.received) == 90
    last: dict[str, int] = {}
    for received in desk.receiver.received:
        ticker, number = received.alert["ticker"], received.alert["n"]
        assert last.get(ticker, -1) < number
        last[ticker] = number
    rows = await desk.database.fetch("SELECT status, count(*) FROM signals GROUP BY status")
    assert [tuple(row) for row in rows] == [("forwarded", 90)]


async def test_sells_leave_before_buys(desk: Desk) -> None:
    tickers = ["B1", "S1", "B2", "S2", "B3", "S3"]
    for ticker in tickers:
        side = "buy" if ticker.startswith("B") else "sell"
        await desk.database.execute(
            """INSERT INTO signals (id, status, type, ticker, expires_at, body)
               VALUES (gen_random_uuid(), 'approved', $1, $2, now() + interval '1 hour', '{}')""",
            side,
            ticker,
        )
        if side == "sell":
            await desk.database.execute("INSERT INTO positions (ticker) VALUES ($1)", ticker)
    by_id = {
        str(row["id"]): row["ticker"] for row in await desk.database.fetch("SELECT id, ticker FROM signals")
    }
    app = await desk.open(forwarding_workers=1)
    await desk.settled(app)
    order = [by_id[received.webhook_id] for received in desk.receiver.received]
    assert order == ["S1", "S2", "S3", "B1", "B2", "B3"]


async def test_a_paused_delivery_sends_nothing_and_loses_nothing(desk: Desk) -> None:
    desk.configure("system", delivery_paused=True)
    app = await desk.open()
    waiting = await desk.send(app, "AAPL", "buy")
    await desk.until(app, waiting, "approved")
    async with app.http.get("/health/detailed") as answer:
        assert (await answer.json())["components"]["destination"]["state"] == "paused"
    desk.configure("system", delivery_paused=False)
    resumed = await desk.open()
    assert (await desk.until(resumed, waiting))["status"] == "forwarded"
    assert len(desk.receiver.received) == 1


async def test_the_limit_holds_for_two_applications_and_over_a_restart(desk: Desk) -> None:
    desk.configure(
        "webhook",
        max_req_per_min=5,
        max_req_per_hour=12,
        exit_reserve=NO_RESERVE,
        rate_limiting_enabled=True,
    )
    desk.watch("list:" + ",".join(f"T{number}" for number in range(14)))
    limits: dict[str, Any] = {"dest_webhook_rate_limiting_enabled": True, "forwarding_workers": 4}
    apps = [await desk.open(**limits), await desk.open(**limits)]
    ids = [await desk.send(apps[number % 2], f"T{number}", "buy") for number in range(14)]
    await desk.receiver.count(5)

    async def waiting() -> bool:
        query = "SELECT count(*) FROM signals WHERE status = 'approved'"
        return bool(await desk.database.fetchval(query) == 9)

    await desk.wait(apps[0], waiting, lambda: "nine signals should wait for a token")
    apps.append(await desk.open(**limits))  # a new process knows what the others have sent
    looked = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - looked < 2:
        await apps[2].context.wakeups.wait("changed", 0.5)
        assert len(desk.receiver.received) == 5
    age = "UPDATE attempts SET started_at = started_at - $1::interval, ended_at = ended_at - $1::interval"
    await desk.database.execute(age.replace("$1", "'61 s'"))
    await desk.receiver.count(10)
    await desk.wait(apps[0], no_attempt_open(desk), lambda: "attempts stay open")
    await desk.database.execute(age.replace("$1", "'61 s'"))
    await desk.receiver.count(12)  # the hour's limit, two later, and not the minute's five
    await desk.wait(apps[0], no_attempt_open(desk), lambda: "attempts stay open")
    await desk.database.execute(age.replace("$1", "'3600 s'"))
    for signal_id in ids:
        assert (await desk.until(apps[0], signal_id))["status"] == "forwarded"
    assert len(desk.receiver.received) == 14


def no_attempt_open(desk: Desk) -> Callable[[], Awaitable[bool]]:
    """Return a condition: every attempt has its outcome."""

    async def there() -> bool:
        query = "SELECT count(*) FROM attempts WHERE ended_at IS NULL"
        return bool(await desk.database.fetchval(query) == 0)

    return there


async def test_imported_history_uses_no_token_of_the_limit_and_trips_no_circuit_breaker(desk: Desk) -> None:
    """Sixty attempts that ended a moment ago elsewhere, all of them failures."""
    desk.configure(
        "webhook",
        max_req_per_min=2,
        max_req_per_hour=12,
        exit_reserve=NO_RESERVE,
        rate_limiting_enabled=True,
    )
    desk.watch("list:A,B,C")
    app = await desk.open(dest_webhook_rate_limiting_enabled=True)
    first = await desk.send(app, "A", "buy")
    await desk.until(app, first)
    (mine,) = await desk.attempts(first)
    ended = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    attempt = {
        "round": 1, "number": 1, "destination": mine["destination"], "webhook_id": "w", "started_at": ended,
        "ended_at": ended, "outcome": "not_taken", "http_status": 503, "error": None, "response": None,
    }  # fmt: skip
    content = io.StringIO(newline="")
    cells = {
        "id": uuid4(), "received_at": ended, "status": "failed", "type": "buy", "ticker": "A", "body": "{}",
        "deliveries": json.dumps([attempt] * 60),
    }  # fmt: skip
    csv.writer(content).writerows([cells, cells.values()])
    headers = {"Authorization": f"Bearer {app.context.settings.admin_token}"}
    async with app.http.post("/admin/database/import", data=content.getvalue(), headers=headers) as answer:
        assert (await answer.json())["imported"] == 1
    second = await desk.send(app, "B", "buy")
    assert (await desk.until(app, second))["status"] == "forwarded"
    state = await desk.database.fetchrow("SELECT probe_at FROM destinations WHERE probe_at IS NOT NULL")
    assert state is None
