"""The circuit breaker: a failing destination is probed with one signal at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from tests.api.operator import ask
from tests.api.trading.receiver import Received, always, take

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

PROBE_NOW = "UPDATE destinations SET probe_at = now() WHERE probe_at IS NOT NULL"


async def failing(desk: Desk, app: AppServer, tickers: str = "AAPL NVDA TSLA") -> None:
    """Let the destination fail until its circuit is open and no attempt is open."""

    async def is_left_alone() -> bool:
        open_attempts = await desk.database.fetchval("SELECT count(*) FROM attempts WHERE ended_at IS NULL")
        return await desk.is_circuit_open() and open_attempts == 0

    desk.receiver.answer = always(503)
    for ticker in tickers.split():
        await desk.send(app, ticker, "buy")
    await desk.wait(app, is_left_alone, lambda: "the destination is not left alone")


@pytest.mark.parametrize("limited", [True, False])
async def test_after_five_failures_nothing_leaves_until_a_probe_is_answered(
    desk: Desk, *, limited: bool
) -> None:
    desk.configure("webhook", retry_seconds=[0.05])
    app = await desk.open(forwarding_workers=4, dest_webhook_rate_limiting_enabled=limited)
    other = await desk.open(forwarding_workers=4, dest_webhook_rate_limiting_enabled=limited)
    alerts = REGISTRY.get_sample_value("destination_failures_total") or 0.0
    await failing(desk, app)
    sent = len(desk.receiver.received)
    assert 5 <= sent <= 5 + 8  # requests in flight are completed
    (alarm,) = (await ask(other, "GET", "/admin/status"))["alarms"]
    assert alarm["code"] == "destination_failing"
    reason = "not accepted: HTTP 503; will be retried"
    assert alarm["text"].endswith(f"Last failure: {reason}")
    desk.receiver.answer = take
    late = await desk.send(app, "AAPL", "buy")
    for server in (app, other):
        async with server.http.get("/health") as answer:
            assert answer.status == 200
    await desk.until(app, late, "approved")
    assert len(desk.receiver.received) <= 5 + 8
    before = len(desk.receiver.received)
    await desk.database.execute(PROBE_NOW)
    await desk.settled(app)
    assert not await desk.is_circuit_open()
    assert (await ask(app, "GET", "/admin/status"))["alarms"] == []
    assert len(desk.receiver.received) == before + 4
    assert await desk.open_positions() == {"AAPL": 2, "NVDA": 1, "TSLA": 1}
    assert REGISTRY.get_sample_value("destination_failures_total") == alerts + 1


async def test_the_only_probe_is_the_oldest_sell(desk: Desk) -> None:
    desk.watch("list:AAPL,AMD,AVGO")
    desk.configure("webhook", retry_seconds=[0.05])
    for ticker in ("NVDA", "TSLA"):
        await desk.database.execute("INSERT INTO positions (ticker) VALUES ($1)", ticker)
    app = await desk.open(forwarding_workers=4)
    await failing(desk, app, "AAPL AMD AVGO")
    first, second = await desk.send(app, "TSLA", "sell"), await desk.send(app, "NVDA", "sell")
    await desk.until(app, second, "approved")
    answer_now = asyncio.Event()

    async def later(_: Received) -> web.StreamResponse:
        await answer_now.wait()
        return web.Response(status=503)

    desk.receiver.answer = later
    sent = len(desk.receiver.received)
    await desk.database.execute(PROBE_NOW)
    await desk.receiver.count(sent + 1)
    for _ in range(3):  # three polls of the senders
        app.context.wakeups.notify("approved")
        await app.context.wakeups.wait("changed", 0.3)
    assert [got.webhook_id for got in desk.receiver.received[sent:]] == [str(first)]
    answer_now.set()

    async def probe_failed() -> bool:
        return bool(await desk.database.fetchval("SELECT failed_probes FROM destinations") == 1)

    await desk.wait(app, probe_failed, lambda: "the probe did not count as failed")
    left_alone = "SELECT extract(epoch FROM probe_at - now())::float8 FROM destinations"
    assert await desk.database.fetchval(left_alone) > 8
    # the next probe is another signal: the first may be the cause
    desk.receiver.answer = take
    await desk.database.execute(PROBE_NOW)
    await desk.until(app, second, "forwarded")
    assert desk.receiver.received[sent + 1].webhook_id == str(second)


async def test_a_refusal_closes_the_circuit(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[0.05])
    app = await desk.open()
    await failing(desk, app)
    desk.receiver.answer = always(400)
    await desk.database.execute(PROBE_NOW)
    await desk.settled(app)
    assert not await desk.is_circuit_open()


async def says_failure(_: Received) -> web.StreamResponse:
    """Return the answer of a working destination that does not accept the order."""
    return web.json_response({"success": False, "messageCode": "invalid-payload"})


async def test_a_2xx_with_success_false_holds_no_other_exit(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[0.05])
    app = await desk.open()
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AMD')")
    desk.receiver.answer = says_failure
    signals = [await desk.send(app, ticker, "buy") for ticker in ("AAPL", "NVDA", "TSLA")]

    async def often() -> bool:
        query = "SELECT count(*) FROM attempts WHERE ended_at IS NOT NULL GROUP BY signal_id"
        counts = [row["count"] for row in await desk.database.fetch(query)]
        return len(counts) == 3 and min(counts) >= 5

    await desk.wait(app, often, lambda: "not attempted often enough")
    assert not await desk.is_circuit_open()

    async def accept_amd(received: Received) -> web.StreamResponse:
        return await (take if received.alert["ticker"] == "AMD" else says_failure)(received)

    desk.receiver.answer = accept_amd
    sell = await desk.send(app, "AMD", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert {(await desk.signal(signal))["status"] for signal in signals} <= {"approved", "forwarding"}
    assert not await desk.is_circuit_open()
    assert await desk.database.fetchval("SELECT count(*) FROM destinations WHERE held_until > now()") == 0


async def test_a_2xx_with_success_false_ends_the_probing(desk: Desk) -> None:
    desk.configure("webhook", retry_seconds=[0.05])
    app = await desk.open()
    await failing(desk, app)
    desk.receiver.answer = says_failure
    await desk.database.execute(PROBE_NOW)

    async def works() -> bool:
        return not await desk.is_circuit_open()

    await desk.wait(app, works, lambda: "a read answer does not count as one")


async def test_a_request_that_is_never_sent_does_not_affect_the_circuit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in preparing requests neither opens a circuit nor closes it."""
    desk.configure("webhook", retry_seconds=[0.05])
    app = await desk.open()

    def fail(*_: object, **__: object) -> bytes:
        raise LookupError

    with monkeypatch.context() as broken:
        broken.setattr("app.orders.outgoing.render", fail)
        for ticker in ("AAPL", "NVDA", "TSLA"):
            await desk.send(app, ticker, "buy")

        async def often() -> bool:
            query = "SELECT count(*) FROM attempts WHERE error = 'the request cannot be prepared'"
            return bool(await desk.database.fetchval(query) >= 15)

        await desk.wait(app, often, lambda: "not attempted often enough")
        assert not await desk.is_circuit_open()
    await desk.settled(app)
    assert {received.alert["ticker"] for received in desk.receiver.received} == {"AAPL", "NVDA", "TSLA"}


async def test_a_body_that_cannot_be_sent_does_not_close_the_circuit(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.configure("webhook", retry_seconds=[0.05])
    app = await desk.open()
    await failing(desk, app)

    def fail(*_: object, **__: object) -> bytes:
        raise ValueError

    monkeypatch.setattr("app.orders.outgoing.render", fail)
    await desk.database.execute(PROBE_NOW)

    async def refused() -> bool:
        return bool(await desk.database.fetchval("SELECT count(*) FROM signals WHERE status = 'failed'"))

    await desk.wait(app, refused, lambda: "no signal was refused")
    assert await desk.is_circuit_open()


async def test_a_sender_that_stops_is_no_failure_of_the_destination(desk: Desk) -> None:
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy, "forwarded")
    await desk.database.execute(
        """INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, ended_at,
                                 outcome, error)
           SELECT signal_id, 1, 2, destination, 'x', claim_id, clock_timestamp(), 'unknown',
                  'its sender died with the request open'
           FROM attempts, generate_series(1, 9)"""
    )
    desk.receiver.answer = always(503)
    for ticker in ("NVDA", "TSLA"):
        await desk.send(app, ticker, "buy")

    async def both_tried() -> bool:
        query = "SELECT count(DISTINCT signal_id) FROM attempts WHERE http_status = 503"
        return bool(await desk.database.fetchval(query) == 2)

    await desk.wait(app, both_tried, lambda: "not tried")
    assert not await desk.is_circuit_open()
