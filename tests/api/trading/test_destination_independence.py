"""No destination waits for another one: not for its limiter, a slow answer, nor what is pending there."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from app.db.pool import open_pool
from app.orders import outbox
from app.orders.destination import destination_of
from app.orders.repository import lock_approvals_shared
from app.positions.manual_orders import flatten
from app.signals.reasons import Reason, ReasonCode
from tests.api.operator import ask
from tests.api.trading.receiver import always, in_turn, listening, take
from tests.api.trading.test_destinations import REPLAY, held, opened, orders_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from uuid import UUID

    from aiohttp import web

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk
    from tests.api.trading.receiver import Received, Receiver

    Answer = Callable[[Received], Awaitable[web.StreamResponse]]

TICKERS = ("AAPL", "NVDA")  # of the list, as TSLA
# A person waits for no longer, and a poll of a second is no way to find an exit.
SOON_SECONDS = 5.0


@pytest_asyncio.fixture
async def live() -> AsyncIterator[Receiver]:
    """The destination `live`, in addition to `default`, which is the desk's receiver."""
    async with listening() as running:
        yield running


@pytest_asyncio.fixture
async def third() -> AsyncIterator[Receiver]:
    """The destination `third`."""
    async with listening() as running:
        yield running


def entry(name: str, receiver: Receiver, **values: Any) -> dict[str, Any]:
    """Return a destination without limits and gap, but for keywords."""
    plain = {"ticker_gap_seconds": 0, "rate_limiting_enabled": False}
    return {"name": name, "url": receiver.url, **plain, **values}


def after(event: asyncio.Event) -> Answer:
    """Answer as a working destination, once the event is set."""

    async def answer(received: Received) -> web.StreamResponse:
        await event.wait()
        return await take(received)

    return answer


@pytest_asyncio.fixture
async def unanswered(desk: Desk) -> AsyncIterator[Answer]:  # noqa: ARG001 - ends before its applications
    """Answer no sooner than at the test's end; an application that stops waits for its open requests."""
    ended = asyncio.Event()
    yield after(ended)
    ended.set()


@asynccontextmanager
async def locked_limiter(database_url: str, receiver: Receiver, name: str) -> AsyncIterator[None]:
    """Hold the lock of a destination's limiter, as a process that was stopped does."""
    connection = await asyncpg.connect(database_url)
    key = destination_of(receiver.url, name).key
    try:
        await connection.execute("SELECT pg_advisory_lock(hashtextextended('limiter ' || $1, 0))", key)
        yield
    finally:
        await connection.close()


async def test_exits_leave_while_a_limiter_is_stuck_and_another_answer_is_slow(
    desk: Desk, live: Receiver, third: Receiver, database_url: str
) -> None:
    """They leave at each other destination within seconds, and nothing is sent twice."""
    may_answer = asyncio.Event()
    third.answer = after(may_answer)
    desk.configure(
        "webhook",
        timeout=30,
        retry_seconds=[0.1],
        destinations=[
            entry("live", live, rate_limiting_enabled=True),
            entry("third", third, timeout=30),
        ],
    )
    app = await desk.open()
    for ticker in TICKERS:
        for name in ("default", "live", "third"):
            given = {"ticker": ticker, "destination": name, "quantity": 5}
            await ask(app, "POST", "/admin/positions/adopt", 201, given)
    async with locked_limiter(database_url, live, "live"):
        sells = [await desk.send(app, ticker, "sell") for ticker in TICKERS]
        async with asyncio.timeout(SOON_SECONDS):
            await desk.receiver.count(len(TICKERS))
            await third.count(len(TICKERS))
        assert live.received == []
        later = await desk.send(app, "TSLA", "buy")  # also while all senders' answers are awaited
        async with asyncio.timeout(SOON_SECONDS):
            await desk.receiver.count(len(TICKERS) + 1)
    async with asyncio.timeout(SOON_SECONDS):
        await live.count(len(TICKERS) + 1)
    may_answer.set()
    for signal in (*sells, later):
        assert (await desk.until(app, signal, "forwarded"))["status"] == "forwarded"
    for receiver in (desk.receiver, live, third):
        sent = Counter(got.webhook_id for got in receiver.received)
        assert sent == Counter(str(signal) for signal in (*sells, later))


_SLOW_CLAIMS = """
    CREATE FUNCTION slow_claim() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$;
    CREATE TRIGGER slow_claim BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION slow_claim();
"""


async def test_a_destination_looks_at_once_for_what_another_claim_had_locked(
    desk: Desk, live: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second claim passes over the signal of the first, and does not wait for the next poll."""
    monkeypatch.setattr(outbox, "POLL_SECONDS", 4 * SOON_SECONDS)
    may_answer = asyncio.Event()
    live.answer = desk.receiver.answer = after(may_answer)
    desk.configure("webhook", timeout=30, destinations=[entry("live", live, timeout=30)])
    app = await desk.open()
    await desk.database.execute(_SLOW_CLAIMS)
    seconds = []
    for number, ticker in enumerate(("AAPL", "NVDA", "TSLA"), 1):
        began = time.monotonic()
        await desk.send(app, ticker, "buy")
        for receiver in (desk.receiver, live):
            await receiver.count(number)
        seconds.append(time.monotonic() - began)
    may_answer.set()
    await desk.settled(app)
    assert max(seconds) < SOON_SECONDS, seconds


async def pending_at_live(
    desk: Desk,
    live: Receiver,
    answer: Answer | None = None,
) -> tuple[AppServer, UUID]:
    """Return a buy whose order at `live` waits for its limit; `default` gives it the answer, if any."""
    one_entry = {"max_req_per_min": 2, "exit_reserve": {"per_min": 1, "per_hour": 0}}
    desk.configure(
        "webhook",
        timeout=30,
        retry_seconds=[0.1],
        destinations=[entry("live", live, rate_limiting_enabled=True, **one_entry)],
    )
    app = await desk.open()
    await desk.until(app, await desk.send(app, "AAPL", "buy", quantity=1), "forwarded")
    if answer is not None:
        desk.receiver.answer = answer
    buy = await desk.send(app, "NVDA", "buy", quantity=2)
    await desk.receiver.count(2)
    return app, buy


async def until_at(desk: Desk, app: AppServer, signal: UUID, destination: str, *statuses: str) -> None:
    """Wait until the signal's order at a destination has one of the statuses."""

    async def there() -> bool:
        return (await orders_of(desk, signal)).get(destination) in statuses

    await desk.wait(app, there, lambda: f"the order at {destination} is not {statuses}")


@pytest.mark.parametrize("act", ["buys/pause", "order/sell-all", "flatten"])
async def test_what_stops_entries_ends_those_that_are_being_sent_elsewhere(
    desk: Desk, live: Receiver, act: str, unanswered: Answer
) -> None:
    app, buy = await pending_at_live(desk, live, unanswered)
    assert await orders_of(desk, buy) == {"default": "sending", "live": "pending"}
    if act == "flatten":
        async with app.context.pool.acquire() as connection, connection.transaction():
            await flatten(connection, 60, Reason(ReasonCode.FLATTENED, time="15:55"))
    else:
        await desk.order(app, act, 202 if act == "order/sell-all" else 200)
    async with asyncio.timeout(SOON_SECONDS):
        await until_at(desk, app, buy, "live", "rejected")
    assert await orders_of(desk, buy) == {"default": "sending", "live": "rejected"}
    ended = """SELECT reason_code, detail ->> 'destination' AS destination FROM signal_events
               WHERE signal_id = $1 AND status = 'rejected'"""
    code = "buys_paused" if act == "buys/pause" else "overtaken"
    assert [tuple(row) for row in await desk.database.fetch(ended, buy)] == [(code, "live")]


async def test_stopping_entries_leaves_what_was_delivered(desk: Desk, live: Receiver) -> None:
    app, buy = await pending_at_live(desk, live)
    await until_at(desk, app, buy, "default", "delivered")
    await desk.order(app, "buys/pause")
    assert (await desk.until(app, buy, "forwarded"))["reason_code"] == "delivered"
    assert await orders_of(desk, buy) == {"default": "delivered", "live": "rejected"}
    assert ("NVDA", "default") in await held(app)


async def test_a_replay_waits_for_no_other_destination(desk: Desk, live: Receiver) -> None:
    """What has failed at one is listed and sent again while the order at the other one waits."""
    desk.receiver.answer = in_turn(200, 400)
    app, buy = await pending_at_live(desk, live)
    await until_at(desk, app, buy, "default", "failed")
    assert (await desk.signal(buy))["status"] == "approved"
    (listed,) = (await ask(app, "GET", "/admin/dead-letters"))["dead_letters"]
    assert (listed["id"], listed["status"], listed["blocked"]) == (str(buy), "failed", False)
    assert "400" in listed["reason"]
    assert (await ask(app, "GET", "/admin/dead-letters?status=expired"))["dead_letters"] == []
    assert (await desk.order(app, REPLAY, destination="live"))["count"] == 0
    counted = await desk.order(app, REPLAY)
    assert (counted["count"], counted["blocked"]) == (1, [])
    assert (await desk.order(app, REPLAY, confirm=1))["replayed"] == 1
    await until_at(desk, app, buy, "default", "delivered")
    assert await orders_of(desk, buy) == {"default": "delivered", "live": "pending"}
    assert (await ask(app, "GET", "/admin/dead-letters"))["dead_letters"] == []
    assert [got.webhook_id for got in desk.receiver.received][1:] == [str(buy), f"{buy}.r2"]
    await desk.order(app, "buys/pause")
    assert (await desk.until(app, buy, "forwarded"))["status"] == "forwarded"
    assert [got.alert["ticker"] for got in live.received] == ["AAPL"]


async def test_an_order_ends_at_its_own_time(desk: Desk, live: Receiver, unanswered: Answer) -> None:
    """Also where a replay at another destination has made its signal last for longer."""
    desk.receiver.answer = in_turn(200, 400)
    app, buy = await pending_at_live(desk, live)
    await until_at(desk, app, buy, "default", "failed")
    desk.receiver.answer = unanswered
    assert (await desk.order(app, REPLAY, confirm=1))["replayed"] == 1
    await until_at(desk, app, buy, "default", "sending")
    await desk.database.execute("UPDATE orders SET expires_at = now() WHERE destination = 'live'")
    await until_at(desk, app, buy, "live", "expired")
    assert await orders_of(desk, buy) == {"default": "sending", "live": "expired"}
    assert (await desk.signal(buy))["status"] == "forwarding"
    (expired,) = (await ask(app, "GET", "/admin/dead-letters"))["dead_letters"]
    assert (expired["status"], expired["blocked"]) == ("expired", False)


async def test_a_later_order_at_one_destination_blocks_no_replay_at_another(
    desk: Desk, live: Receiver, unanswered: Answer
) -> None:
    desk.receiver.answer = live.answer = always(400)
    desk.configure("webhook", destinations=[entry("live", live)])
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, buy))["status"] == "failed"
    desk.receiver.answer, live.answer = unanswered, take
    given = {"ticker": "AAPL", "destination": "default"}
    await ask(app, "POST", "/admin/positions/adopt", 201, given)
    sell = await desk.send(app, "AAPL", "sell")
    await until_at(desk, app, sell, "default", "sending")
    assert (await desk.order(app, REPLAY, destination="default"))["blocked"] == [str(buy)]
    assert (await desk.order(app, REPLAY, confirm=1))["replayed"] == 1
    await until_at(desk, app, buy, "live", "delivered")
    assert (await orders_of(desk, buy))["default"] == "failed"


_ORDER = """
    WITH made AS (
        INSERT INTO signals (id, status, type, intent, ticker, expires_at, body)
        VALUES (gen_random_uuid(), 'approved', 'buy', 'open', 'AAPL', now() + interval '1 hour', '{}')
        RETURNING *)
    INSERT INTO orders (signal_id, destination, round, seq, type, ticker, intent, expires_at)
    SELECT id, 'live', round, seq, type, ticker, intent, expires_at FROM made
"""


@pytest.mark.parametrize("how", ["api", "file"])
async def test_a_destination_is_not_removed_while_a_decision_makes_an_order_there(
    desk: Desk, live: Receiver, how: str, unanswered: Answer
) -> None:
    live.answer = unanswered
    desk.configure("webhook", destinations=[entry("live", live)])
    app = await desk.open()
    async with await open_pool(str(app.context.settings.database_url), 1) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await lock_approvals_shared(connection)
            await connection.execute(_ORDER)
            if how == "api":
                removal = asyncio.create_task(ask(app, "DELETE", "/admin/destinations/live", 409))
            else:
                desk.configure("webhook")
                removal = asyncio.create_task(app.app.state.config_store.look())
            done, _ = await asyncio.wait({removal}, timeout=1.0)
            assert not done
        await removal
    assert app.context.config.destination("live") is not None


async def test_a_process_that_has_not_seen_a_removal_makes_no_order_there(desk: Desk, live: Receiver) -> None:
    desk.configure("webhook", destinations=[entry("live", live)])
    app = await desk.open()
    before = app.context.config
    await ask(app, "DELETE", "/admin/destinations/live")
    app.context.config = before
    given = {"ticker": "NVDA", "destination": "live"}
    assert "'live'" in (await ask(app, "POST", "/admin/positions/adopt", 404, given))["detail"]
    buy = await desk.until(app, await desk.send(app, "AAPL", "buy"), "forwarded")
    assert await orders_of(desk, buy["id"]) == {"default": "delivered"}
    assert (await desk.order(app, "order/sell-individual", 202, ticker="TSLA"))["queued"] == 1
    assert live.received == []


async def test_an_exit_that_failed_at_one_is_an_alarm_while_it_waits_at_another(
    desk: Desk, live: Receiver, unanswered: Answer
) -> None:
    desk.receiver.answer = always(400)
    live.answer = unanswered
    desk.configure("webhook", timeout=30, destinations=[entry("live", live, timeout=30)])
    app = await desk.open()
    for name in ("default", "live"):
        given = {"ticker": "AAPL", "destination": name, "quantity": 5}
        await ask(app, "POST", "/admin/positions/adopt", 201, given)
    sell = await desk.send(app, "AAPL", "sell")
    await until_at(desk, app, sell, "default", "failed")
    await until_at(desk, app, sell, "live", "sending")
    assert (await desk.signal(sell))["status"] == "forwarding"
    alarms = (await ask(app, "GET", "/admin/status"))["alarms"]
    assert "AAPL" in {each["subject"] for each in alarms if each["code"] == "sells_failed"}


async def test_an_exit_that_failed_at_one_is_no_alarm_about_a_position_at_another(
    desk: Desk, live: Receiver
) -> None:
    """What is held at `live` after a partial exit that left there is not about what failed at `default`."""
    desk.receiver.answer = always(400)
    desk.configure("webhook", destinations=[entry("live", live)])
    app = await desk.open()
    for name in ("default", "live"):
        given = {"ticker": "AAPL", "destination": name, "quantity": 5}
        await ask(app, "POST", "/admin/positions/adopt", 201, given)
    sell = await desk.send(app, "AAPL", "sell", quantity=2, sentiment="long")
    assert (await desk.until(app, sell))["status"] == "failed"
    listed = (await ask(app, "GET", "/admin/positions"))["positions"]
    (position,) = [each["id"] for each in listed if each["destination"] == "default"]
    await desk.order(app, "order/mark-closed", position_id=position, reason="sold at the broker")
    alarms = (await ask(app, "GET", "/admin/status"))["alarms"]
    assert [each for each in alarms if each["code"] == "sells_failed"] == []
    assert await held(app) == {("AAPL", "live"): "3"}


async def test_a_replay_hides_no_waiting_order_from_the_switch_that_stops_buying(
    desk: Desk, live: Receiver
) -> None:
    """The replay at `live` has a shorter age than the order that waits at `default`."""
    desk.receiver.answer = always(429, **{"Retry-After": "60"})
    live.answer = always(400)
    app = await opened(desk, live)
    buy = await desk.send(app, "NVDA", "buy")
    await until_at(desk, app, buy, "live", "failed")
    await desk.receiver.count(1)
    await until_at(desk, app, buy, "default", "pending")
    await ask(app, "PUT", "/admin/webhook/config", body={"max_signal_age_seconds": {"buy": 1}})
    await desk.order(app, REPLAY, destination="live", confirm=1)
    await live.count(2)
    await until_at(desk, app, buy, "live", "failed")
    await asyncio.sleep(1.1)  # the age of the replay
    await desk.order(app, "buys/pause")
    await until_at(desk, app, buy, "default", "rejected")
    assert len(desk.receiver.received) == 1
