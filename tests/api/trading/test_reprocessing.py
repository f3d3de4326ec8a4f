"""Reprocessing: rejected buys whose ticker enters the list."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.operator import log_of
from tests.api.trading.receiver import always

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

TRIGGER = "reprocessing/trigger"
RULE = {"reprocess_enabled": True, "refresh_interval_sec": 1}


async def watching(desk: Desk, **strategy: Any) -> AppServer:
    """Start an application whose list is AAPL, from a file that a test may change."""
    (desk.folder / "top.csv").write_text("AAPL\n")
    desk.watch("file:top.csv", **{**RULE, **strategy})
    return await desk.open()


async def rejected(desk: Desk, app: AppServer, ticker: str = "NVDA", count: int = 1) -> list[UUID]:
    """Send buys of a ticker that is not in the list, and wait until they are rejected."""
    ids = [await desk.send(app, ticker, "buy") for _ in range(count)]
    for signal_id in ids:
        assert (await desk.until(app, signal_id))["status"] == "rejected"
    return ids


async def enter(desk: Desk, app: AppServer, *tickers: str) -> None:
    """Add tickers to the list, and wait until reprocessing has processed it."""
    (desk.folder / "top.csv").write_text("\n".join(["AAPL", *tickers]))

    async def is_processed() -> bool:
        row = await desk.database.fetchrow("SELECT * FROM top_n_lists ORDER BY id DESC LIMIT 1")
        return row is not None and row["entered"] == list(tickers) and row["reprocessed_at"] is not None

    await desk.wait(app, is_processed, lambda: f"the list with {tickers} was not processed")


async def approved_again(desk: Desk) -> list[asyncpg.Record]:
    """Return the buys that were reprocessed."""
    rows: list[asyncpg.Record] = await desk.database.fetch(
        "SELECT * FROM signals WHERE reprocessed_at IS NOT NULL ORDER BY seq"
    )
    return rows


async def test_a_ticker_enters_in_any_spelling(desk: Desk) -> None:
    app = await watching(desk)
    (buy,) = await rejected(desk, app, "BRK.B")
    await enter(desk, app, "BRK-B")
    assert (await desk.until(app, buy, "forwarded"))["ticker"] == "BRK-B"
    assert [got.alert["ticker"] for got in desk.receiver.received] == ["BRK.B"]


async def test_three_rejected_buys_of_a_ticker_that_enters_give_one_position(desk: Desk) -> None:
    app = await watching(desk)
    *_, newest = await rejected(desk, app, count=3)
    before = (await desk.signal(newest))["expires_at"]
    await enter(desk, app, "NVDA")
    row = await desk.until(app, newest, "forwarded")
    assert row["expires_at"] > before
    assert await desk.open_positions() == {"NVDA": 1}
    assert [row["id"] for row in await approved_again(desk)] == [newest]
    assert await desk.story(newest) == ["received", "rejected", "approved", "forwarding", "forwarded"]
    event = await desk.database.fetchrow(
        "SELECT reason, detail FROM signal_events WHERE signal_id = $1 AND status = 'approved'", newest
    )
    assert event is not None
    assert event["reason"] == "NVDA entered the list: rank 2 of 2"
    assert json.loads(event["detail"])["rank"] == 2
    assert [got.webhook_id for got in desk.receiver.received] == [str(newest)]


async def test_it_happens_once(desk: Desk) -> None:
    app = await watching(desk)
    desk.receiver.answer = always(400)
    (buy,) = await rejected(desk, app)
    await enter(desk, app, "NVDA")
    assert (await desk.until(app, buy, "failed"))["attempts"] == 1
    await desk.database.execute("UPDATE signals SET status = 'rejected'")
    assert (await desk.order(app, TRIGGER))["count"] == 0


async def test_without_the_rule_nothing_happens(desk: Desk) -> None:
    app = await watching(desk, reprocess_enabled=False)
    await rejected(desk, app)
    await enter(desk, app, "NVDA")
    assert await approved_again(desk) == []


@pytest.mark.parametrize(
    ("rule", "age", "expected"),
    [
        ({"reprocess_window_seconds": 300}, "240 seconds", 1),
        ({"reprocess_window_seconds": 300}, "301 seconds", 0),
        ({"reprocess_window_seconds": 300, "reprocess_max_age_seconds": 60}, "61 seconds", 0),
        ({"reprocess_window_seconds": 300, "reprocess_max_age_seconds": 0}, "240 seconds", 1),
        ({"reprocess_window_seconds": 0, "reprocess_max_age_seconds": 0}, "7 days", 1),
        ({"reprocess_window_seconds": 0}, "7 days", 1),
        ({"reprocess_window_seconds": 0, "reprocess_max_age_seconds": 86400}, "7 days", 0),
    ],
)
async def test_the_windows_limit_how_far_back_it_reaches(
    desk: Desk, rule: dict[str, int], age: str, expected: int
) -> None:
    app = await watching(desk, **rule)
    await rejected(desk, app)
    await desk.database.execute("UPDATE signals SET received_at = now() - $1::text::interval", age)
    await enter(desk, app, "NVDA")
    assert len(await approved_again(desk)) == expected


@pytest.mark.parametrize(
    ("rule", "gap", "expected"),
    [
        ({}, "0 seconds", 0),
        ({"respect_sell_chronology_enabled": False}, "0 seconds", 1),
        ({"sell_chronology_window_seconds": 30}, "31 seconds", 1),
        ({"sell_chronology_window_seconds": 30}, "29 seconds", 0),
        ({"sell_chronology_window_seconds": 0}, "200 seconds", 0),
    ],
)
async def test_a_later_sell_excludes_the_buy(
    desk: Desk, rule: dict[str, Any], gap: str, expected: int
) -> None:
    app = await watching(desk, **rule)
    await rejected(desk, app)
    assert (await desk.until(app, await desk.send(app, "NVDA", "sell")))["status"] == "rejected"
    await desk.database.execute(
        """UPDATE signals SET received_at = now() - interval '250 seconds'
                            + CASE type WHEN 'sell' THEN $1::text::interval ELSE interval '0' END""",
        gap,
    )
    await enter(desk, app, "NVDA")
    assert len(await approved_again(desk)) == expected


async def test_a_sell_before_the_buy_does_not_exclude_it(desk: Desk) -> None:
    app = await watching(desk)
    await desk.until(app, await desk.send(app, "NVDA", "sell"))
    await rejected(desk, app)
    await enter(desk, app, "NVDA")
    assert len(await approved_again(desk)) == 1


async def test_an_open_position_blocks(desk: Desk) -> None:
    app = await watching(desk)
    await rejected(desk, app)
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('NVDA')")
    await enter(desk, app, "NVDA")
    assert await approved_again(desk) == []


@pytest.mark.parametrize(
    ("order_type", "status"),
    [("buy", "approved"), ("buy", "received"), ("sell", "approved"), ("manual_sell", "approved")],
)
async def test_a_pending_order_or_a_waiting_buy_blocks(desk: Desk, order_type: str, status: str) -> None:
    app = await watching(desk, respect_sell_chronology_enabled=False)
    await rejected(desk, app)
    # checked in the database itself, so that no worker claims the order in between
    (desk.folder / "top.csv").write_text("AAPL\nNVDA")

    async def listed() -> bool:
        return bool(await desk.database.fetchval("SELECT max(cardinality(tickers)) = 2 FROM top_n_lists"))

    desk.receiver.answer = always(503)
    async with desk.database.acquire() as connection:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('approvals', 0))")
            await desk.wait(app, listed, lambda: "the list was not stored")
            await connection.execute(
                """INSERT INTO signals (id, status, type, ticker, expires_at, not_before, body)
                   VALUES (gen_random_uuid(), $1, $2, 'NVDA', now() + interval '1 hour',
                           CASE $1 WHEN 'approved' THEN now() + interval '1 hour' END,
                           '{"ticker": "NVDA"}')""",
                *(status, order_type),
            )

        async def is_processed() -> bool:
            query = "SELECT bool_and(reprocessed_at IS NOT NULL) FROM top_n_lists WHERE entered <> '{}'"
            return bool(await connection.fetchval(query))

        await desk.wait(app, is_processed, lambda: "the list was not processed")
    assert await approved_again(desk) == []


async def test_a_person_counts_first_and_then_reprocesses(desk: Desk) -> None:
    app = await watching(desk, reprocess_enabled=False)
    (buy,) = await rejected(desk, app)
    await rejected(desk, app, "TSLA")
    await enter(desk, app, "NVDA")
    counted = await desk.order(app, TRIGGER, tickers=[" nvda ", "TSLA"], dry_run=True)
    assert counted["signals"] == [{"signal_id": str(buy), "ticker": "NVDA", "rank": 2}]
    assert [skipped["ticker"] for skipped in counted["skipped"]] == ["TSLA"]
    assert "not in a fresh list" in counted["skipped"][0]["reason"]
    assert await approved_again(desk) == []
    done = await desk.order(app, TRIGGER)
    assert (done["count"], done["dry_run"]) == (1, False)
    assert (await desk.until(app, buy, "forwarded"))["reason"]
    assert (await desk.order(app, TRIGGER))["count"] == 0
    odd: list[dict[str, Any]] = [{"tickers": []}, {"tickers": ["a\0b"]}, {"tickers": "NVDA"}]
    for body in odd:
        await desk.order(app, TRIGGER, 422, **body)


async def test_two_simultaneous_triggers_in_two_processes_reprocess_once(desk: Desk) -> None:
    app = await watching(desk, reprocess_enabled=False)
    other = await desk.open()
    await rejected(desk, app, count=3)
    await enter(desk, app, "NVDA")
    done = await asyncio.gather(*(desk.order(server, TRIGGER) for server in (app, other, app, other)))
    assert sum(answer["count"] for answer in done) == 1
    await desk.settled(app)
    assert await desk.open_positions() == {"NVDA": 1}


async def test_a_failure_between_the_steps_leaves_nothing_half_done(desk: Desk) -> None:
    app = await watching(desk)
    (buy,) = await rejected(desk, app)
    await desk.database.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN RAISE EXCEPTION 'the list cannot be marked'; END $$"""
    )
    await desk.database.execute(
        """CREATE TRIGGER refuse BEFORE UPDATE OF reprocessed_at ON top_n_lists
           FOR EACH ROW EXECUTE FUNCTION refuse()"""
    )
    (desk.folder / "top.csv").write_text("AAPL\nNVDA")

    async def tripped() -> bool:
        return app.context.supervisor.states()["reprocessing"].restarts > 1

    await desk.wait(app, tripped, lambda: "it did not fail")
    assert (await desk.signal(buy))["status"] == "rejected"
    assert await desk.story(buy) == ["received", "rejected"]
    await desk.database.execute("DROP TRIGGER refuse ON top_n_lists")
    await desk.until(app, buy, "forwarded")
    assert await desk.open_positions() == {"NVDA": 1}


async def test_the_trigger_is_in_the_actions_log_and_its_dry_run_is_not(desk: Desk) -> None:
    app = await watching(desk, reprocess_enabled=False)
    (buy,) = await rejected(desk, app)
    await enter(desk, app, "NVDA")
    await desk.order(app, TRIGGER, dry_run=True)
    assert await log_of(app) == []
    await desk.order(app, TRIGGER)
    ((*_, action, target, _, after, _),) = await log_of(app)
    assert (action, target, after) == ("reprocessing.trigger", "desk", {"approved": {"NVDA": str(buy)}})


async def test_imported_history_is_not_reprocessed(desk: Desk) -> None:
    app = await watching(desk)
    await rejected(desk, app)
    await desk.database.execute("UPDATE signals SET imported_at = now()")
    await enter(desk, app, "NVDA")
    assert await approved_again(desk) == []
