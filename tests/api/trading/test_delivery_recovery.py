"""Senders that die, stop or lose the database during a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import asyncpg
from aiohttp import web

from tests.api.process import answering, process
from tests.api.trading.receiver import Received, always, take

if TYPE_CHECKING:
    from tests.api.trading.desk import Desk

EXPIRE_LEASES = "UPDATE signals SET lease_until = now() WHERE status = 'forwarding'"

REFUSE_SUCCESSES_OF_TSLA = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'out of range' USING ERRCODE = 'numeric_value_out_of_range'; END
    $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON signals FOR EACH ROW
        WHEN (NEW.ticker = 'TSLA' AND NEW.status = 'forwarded') EXECUTE FUNCTION refuse()
"""


class Gate:
    """An answer that waits until the test releases it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, received: Received) -> web.StreamResponse:
        await self.open.wait()
        return await take(received)


async def test_open_attempts_of_a_killed_process_get_an_outcome(desk: Desk, database_url: str) -> None:
    gate = Gate()
    desk.receiver.answer = gate
    desk.configure("webhook", retry_seconds=[0.05])
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    settings = {
        "DATABASE_URL": database_url,
        "CONFIG_DIR": str(desk.folder),
        "DEST_WEBHOOK_URL": desk.receiver.url,
        "DEST_WEBHOOK_RATE_LIMITING_ENABLED": "false",
    }
    async with aiohttp.ClientSession() as http:
        with process(settings, desk.folder) as (running, url):
            await answering(http, url)
            for alert in ({"ticker": "AAPL", "side": "buy"}, {"ticker": "NVDA", "side": "sell"}):
                async with http.post(f"{url}/webhook/in", json=alert) as answer:
                    assert answer.status == 202
            await desk.receiver.count(2)
            running.kill()
            running.wait()
    desk.receiver.answer = take
    gate.open.set()
    await desk.database.execute(EXPIRE_LEASES)
    survivor = await desk.open()
    await desk.settled(survivor)
    rows = {row["type"]: row for row in await desk.database.fetch("SELECT * FROM signals")}
    assert (rows["buy"]["status"], rows["buy"]["attempts"]) == ("failed", 1)
    assert "its sender died" in rows["buy"]["reason"]
    assert (rows["sell"]["status"], rows["sell"]["attempts"]) == ("forwarded", 2)
    sent = [received.webhook_id for received in desk.receiver.received]
    assert sorted(sent) == sorted([str(rows["buy"]["id"]), *[str(rows["sell"]["id"])] * 2])
    assert await desk.open_positions() == {}


async def test_an_answer_known_late_still_counts(desk: Desk) -> None:
    gate = Gate()
    desk.receiver.answer = gate
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(1)
    await desk.database.execute(EXPIRE_LEASES)
    assert (await desk.until(app, buy))["status"] == "failed"
    gate.open.set()
    await desk.until(app, buy, "forwarded")
    assert await desk.story(buy) == ["received", "approved", "forwarding", "failed", "forwarded"]
    assert await desk.open_positions() == {"AAPL": 1}
    assert [attempt["outcome"] for attempt in await desk.attempts(buy)] == ["delivered"]


async def test_a_success_that_cannot_be_stored_stops_no_sender(desk: Desk) -> None:
    await desk.database.execute(REFUSE_SUCCESSES_OF_TSLA)
    app = await desk.open(forwarding_workers=1)
    refused = await desk.send(app, "TSLA", "buy")
    await desk.receiver.count(1)
    next_one = await desk.send(app, "AAPL", "buy")
    await desk.until(app, next_one, "forwarded")
    assert (await desk.signal(refused))["status"] == "forwarding"
    await desk.database.execute(EXPIRE_LEASES)
    assert (await desk.until(app, refused))["status"] == "failed"
    assert [attempt["outcome"] for attempt in await desk.attempts(refused)] == ["unknown"]
    assert await desk.open_positions() == {"AAPL": 1}
    assert len(desk.receiver.received) == 2
    assert not any(worker.restarts for worker in app.context.supervisor.states().values())


async def test_two_successes_of_one_signal_are_one_buy(desk: Desk) -> None:
    gate = Gate()
    desk.receiver.answer = gate
    desk.configure("webhook", retry_unknown={"buy": True}, retry_seconds=[0.05])
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(1)
    await desk.database.execute(EXPIRE_LEASES)
    await desk.receiver.count(2)
    gate.open.set()

    async def both() -> bool:
        return [attempt["outcome"] for attempt in await desk.attempts(buy)] == ["delivered"] * 2

    await desk.wait(app, both, lambda: "an attempt has another outcome")
    assert {received.webhook_id for received in desk.receiver.received} == {str(buy)}
    assert await desk.open_positions() == {"AAPL": 1}
    assert (await desk.story(buy)).count("forwarded") == 1


async def test_a_failure_known_late_changes_nothing_of_what_came_after(desk: Desk) -> None:
    first, second = Gate(), Gate()
    answers = iter([first, second])

    async def in_turn(received: Received) -> web.StreamResponse:
        mine = next(answers)
        await mine.open.wait()
        return await (always(400) if mine is first else take)(received)

    desk.receiver.answer = in_turn
    desk.configure("webhook", retry_unknown={"buy": True}, retry_seconds=[0.05])
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(1)
    await desk.database.execute(EXPIRE_LEASES)
    await desk.receiver.count(2)
    first.open.set()
    second.open.set()
    assert (await desk.until(app, buy))["status"] == "forwarded"
    assert "failed" not in await desk.story(buy)


async def test_on_term_nothing_new_is_claimed_and_the_open_request_is_completed(desk: Desk) -> None:
    gate = Gate()
    desk.receiver.answer = gate
    app = await desk.open(forwarding_workers=1)
    taken, waiting = await desk.send(app, "AAPL", "buy"), await desk.send(app, "NVDA", "buy")
    await desk.receiver.count(1)
    await desk.until(app, waiting, "approved")
    outbox = [task for task in asyncio.all_tasks() if task.get_name() == "outbox"]
    app.stop()
    await asyncio.wait(outbox)  # the server checks ten times a second whether it must end
    gate.open.set()
    await desk.until(app, taken, "forwarded")
    assert (await desk.signal(waiting))["status"] == "approved"
    assert len(desk.receiver.received) == 1
    assert (await desk.until(await desk.open(), waiting))["status"] == "forwarded"


async def test_a_request_is_made_while_the_previous_outcome_is_stored_and_term_completes_both(
    desk: Desk,
) -> None:
    """One sender, and positions are locked: a second request leaves, a third one does not."""
    app = await desk.open(forwarding_workers=1)
    async with desk.database.acquire() as connection:
        async with connection.transaction():
            await connection.execute("LOCK TABLE positions IN SHARE ROW EXCLUSIVE MODE")
            buys = [await desk.send(app, ticker, "buy") for ticker in ("AAPL", "NVDA", "TSLA")]
            await desk.receiver.count(2)
            await desk.until(app, buys[2], "approved")
            assert [(await desk.signal(buy))["status"] for buy in buys] == [
                "forwarding",
                "forwarding",
                "approved",
            ]
            assert len(desk.receiver.received) == 2
            outbox = [task for task in asyncio.all_tasks() if task.get_name() == "outbox"]
            app.stop()
            await asyncio.wait(outbox)
        for buy in buys[:2]:
            await desk.until(app, buy, "forwarded")
    assert len(desk.receiver.received) == 2
    assert (await desk.until(await desk.open(), buys[2]))["status"] == "forwarded"
    assert await desk.open_positions() == {"AAPL": 1, "NVDA": 1, "TSLA": 1}


async def test_a_success_survives_the_loss_of_every_database_connection(desk: Desk) -> None:
    gate = Gate()
    desk.receiver.answer = gate
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(1)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    await desk.database.fetch(f"{cut} AND pid <> pg_backend_pid()")
    gate.open.set()
    assert (await desk.until(app, buy))["status"] == "forwarded"
    following = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, following))["status"] == "forwarded"
    assert await desk.open_positions() == {}


async def test_an_outcome_known_in_an_outage_longer_than_the_lease_stays_known(
    desk: Desk, database_url: str
) -> None:
    gate = Gate()
    desk.receiver.answer = gate
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.receiver.count(1)
    sell = await desk.send(app, "AAPL", "sell")
    await desk.until(app, sell, "approved")
    await desk.database.execute(EXPIRE_LEASES.replace("now()", "now() + interval '3 s'"))
    server, _, name = database_url.rpartition("/")
    elsewhere = await asyncpg.connect(f"{server}/postgres")
    try:
        await elsewhere.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await elsewhere.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )
        gate.open.set()  # the destination answers, and the outcome cannot be stored
        await elsewhere.execute("SELECT pg_sleep(4)")
        await elsewhere.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    finally:
        await elsewhere.close()
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert await desk.story(buy) == ["received", "approved", "forwarding", "forwarded"]
    assert await desk.open_positions() == {}
