"""A known outcome is stored over failures of the database: no lock, error or leftover makes it unknown."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from app.orders import repository
from app.orders.destination import destination_of
from tests.api import raising
from tests.api.outage import away
from tests.api.process import answering, process
from tests.api.trading.receiver import Received, always, take

if TYPE_CHECKING:
    import io
    from pathlib import Path

    from tests.api.trading.desk import Desk


@pytest.mark.parametrize("state", ["XX000", "XX002", "54000", "0A000", "F0000", "P0001"])
async def test_an_error_that_does_not_concern_the_row_delays_an_outcome(desk: Desk, state: str) -> None:
    await raising.install(desk.database)
    await raising.start(desk.database, "outcome", state)
    app = await desk.open()
    buy = await desk.send(app, "NVDA", "buy")

    async def is_refused() -> bool:
        return bool(app.context.unwritten_outcomes)

    await desk.wait(app, is_refused, lambda: "the outcome was stored at once")
    await raising.stop(desk.database, "outcome")
    row = await desk.until(app, buy)
    assert row["status"] == "forwarded", row["reason"]
    sell = await desk.send(app, "NVDA", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    assert len(desk.receiver.received) == 2


@pytest.mark.parametrize(
    ("state", "status"), [("XX002", 503), ("P0001", 503), ("22003", 422), ("23514", 422)]
)
async def test_a_post_that_cannot_be_stored_now_is_answered_503_and_delays_no_other(
    desk: Desk, state: str, status: int
) -> None:
    await desk.database.execute(
        f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{state}'; END
            $$;
            CREATE TRIGGER refuse BEFORE INSERT ON signals FOR EACH ROW
                WHEN (NEW.ticker = 'TSLA') EXECUTE FUNCTION refuse()"""
    )
    app = await desk.open()

    async def post(ticker: str) -> int:
        async with app.http.post("/webhook/in", json={"ticker": ticker, "side": "buy"}) as answer:
            return answer.status

    others = [f"T{number}" for number in range(8)]
    found = await asyncio.gather(post("TSLA"), *map(post, others))
    assert found == [status, *[202] * len(others)]


async def test_recovery_passes_over_an_outcome_that_waits_for_a_lock_longer_than_its_lease(
    desk: Desk, database_url: str
) -> None:
    answers = [web.Response(status=503, headers={"Retry-After": "0"})]

    async def answer(received: Received) -> web.StreamResponse:
        return answers.pop() if answers else await take(received)

    desk.receiver.answer = answer
    desk.configure("webhook", retry_seconds=[0.1])
    app = await desk.open()
    await desk.database.execute(
        "INSERT INTO destinations (destination, held_until, reason) SELECT $1, now(), ''",
        destination_of(desk.receiver.url).key,
    )
    other = await asyncpg.connect(database_url, server_settings={"idle_in_transaction_session_timeout": "0"})
    try:
        async with other.transaction():
            await other.execute("SELECT FROM destinations FOR UPDATE")
            buy = await desk.send(app, "AAPL", "buy")

            async def is_known() -> bool:
                return bool(app.context.known_outcomes)

            await desk.wait(app, is_known, lambda: "the outcome was stored in spite of the lock")
            await desk.database.execute("UPDATE signals SET lease_until = now() - interval '1 hour'")
            async with desk.database.acquire() as connection, connection.transaction():
                assert (
                    await repository.lock_abandoned(connection, known=list(app.context.known_outcomes)) == []
                )

            async def is_renewed() -> bool:  # so that another process passes over it, too
                return (await desk.database.fetchval("SELECT lease_until > now() FROM signals")) is True

            await desk.wait(app, is_renewed, lambda: "the lease was not renewed")
            assert (await desk.signal(buy))["status"] == "forwarding"
    finally:
        await other.close()
    row = await desk.until(app, buy)
    assert row["status"] == "forwarded", row["reason"]
    assert [attempt["outcome"] for attempt in await desk.attempts(buy)] == ["not_taken", "delivered"]


@pytest.mark.parametrize("hours", [-1, 1])
async def test_an_attempt_left_open_does_not_keep_probes_from_a_destination(desk: Desk, hours: int) -> None:
    desk.configure("webhook", retry_seconds=[0.1])
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy)
    # two claims of one signal: the first one's success is stored, the second one's process was killed
    await desk.database.execute(
        """INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, started_at)
            SELECT signal_id, round, number + 1, destination, webhook_id, gen_random_uuid(),
                   now() + make_interval(hours => $1)
            FROM attempts""",
        hours,
    )
    desk.receiver.answer = always(503)
    for ticker in ("NVDA", "TSLA", "AAPL"):
        await desk.send(app, ticker, "buy")

    await desk.wait(app, desk.is_circuit_open, lambda: "the circuit is not open")
    desk.receiver.answer = take
    await desk.settled(app)

    async def stray_has_ended() -> bool:
        return (await desk.attempts(buy))[-1]["outcome"] is not None

    await desk.wait(app, stray_has_ended, lambda: "the attempt is left open")
    stray = (await desk.attempts(buy))[-1]
    assert (stray["outcome"], stray["error"]) == ("unknown", "its sender died with the request open")
    assert (await desk.signal(buy))["status"] == "forwarded"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_success_that_could_not_be_stored_counts_after_the_next_start(
    desk: Desk, database_url: str, tmp_path: Path, how: signal.Signals
) -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        is_asked.set()
        await may_answer.wait()
        return await take(received)

    desk.receiver.answer = answer
    folder = tmp_path / "data" / "outcomes"
    settings = {
        "DATABASE_URL": database_url,
        "CONFIG_DIR": str(desk.folder),
        "DATA_DIR": str(tmp_path / "data"),
        "DEST_WEBHOOK_URL": f"{desk.receiver.url}?token={raising.SECRET}",
        "DEST_WEBHOOK_RATE_LIMITING_ENABLED": "false",
    }
    async with aiohttp.ClientSession() as http:
        with process(settings, desk.folder) as (running, url):
            await answering(http, url)
            async with http.post(f"{url}/webhook/in", json={"ticker": "AAPL", "side": "buy"}) as taken:
                assert taken.status == 202
            await is_asked.wait()
            async with away(database_url):
                if how == signal.SIGTERM:
                    running.send_signal(how)
                may_answer.set()
                async with asyncio.timeout(30):
                    while not list(folder.glob("*.json")):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)  # no event reports another process's file
                running.send_signal(how)
                await asyncio.to_thread(running.wait, 60)
    (kept,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o700, 0o600)
    assert raising.SECRET not in kept.read_text()
    await desk.database.execute("UPDATE signals SET lease_until = now() - interval '1 hour'")
    desk.receiver.answer = take
    app = await desk.open()
    await desk.settled(app)
    assert await desk.open_positions() == {"AAPL": 1}
    sell = await desk.send(app, "AAPL", "sell")
    row = await desk.until(app, sell)
    assert row["status"] == "forwarded", row["reason"]
    assert list(folder.iterdir()) == []
    assert not app.context.known_outcomes


async def test_a_kept_outcome_of_another_database_changes_nothing(
    logged: io.StringIO, desk: Desk, tmp_path: Path
) -> None:
    app = await desk.open()
    buy = await desk.send(app, "AAPL", "buy")
    await desk.until(app, buy)
    (attempt,) = await desk.attempts(buy)
    folder = tmp_path / "data" / "outcomes"
    folder.mkdir(parents=True)
    delivery = {
        "id": str(attempt["signal_id"]),
        "type": "buy",
        "ticker": "AAPL",
        "body": "",
        "number": 1,
        "attempt": attempt["id"],
        "webhook_id": attempt["webhook_id"],
        "started_at": "2026-01-01T00:00:00Z",
        "claim_id": "00000000-0000-0000-0000-000000000001",
        "destination": {"kind": "live", "origin": "", "key": attempt["destination"], "url": None},
    }
    document = {"delivery": delivery, "answer": ["refused", 422], "effect": "nothing"}
    kept = folder / f"{attempt['id']}.json"
    kept.write_text(json.dumps(document))
    old, unreadable = folder / "1000.json", folder / "1001.json"
    old.write_text(json.dumps(document | {"delivery": delivery | {"attempt": 1000}}))
    os.utime(old, (0, 0))
    unreadable.write_text("{")
    again = await desk.open()

    async def is_looked_at() -> bool:
        return "belongs to another database" in logged.getvalue() and not again.context.known_outcomes

    await desk.wait(again, is_looked_at, lambda: "the file was not looked at")
    assert sorted(folder.iterdir()) == [kept, unreadable]
    assert [dict(row) for row in await desk.attempts(buy)] == [dict(attempt)]
    assert (await desk.signal(buy))["status"] == "forwarded"
