"""Retention: old signals are deleted in small batches, with their timelines; what is needed stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from app.config.model import SYSTEM_FILE
from app.ops import retention
from app.ops.repository import RETENTION_KINDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from app.db.pool import Pool
    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

DAYS = 7
_SIGNAL = """
    WITH signal AS (
        INSERT INTO signals (id, status, type, ticker, received_at, status_at, expires_at, body, imported_at)
        VALUES ($1, $2, 'buy', 'AAPL', now() - make_interval(days => $3), now() - make_interval(days => $4),
                now() + interval '1 hour', '{}', now() - make_interval(days => $5))
        RETURNING id
    ), told AS (
        INSERT INTO signal_events (signal_id, status) SELECT id, 'received' FROM signal
    )
    INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, ended_at, outcome)
    SELECT id, 1, 1, 'paper', '', id, now() - interval '2 hours', 'delivered' FROM signal
"""


async def sweep(pool: Pool) -> dict[str, int]:
    """Sweep once, and assert that the worker sends a heartbeat after each kind."""
    beats = list[None]()
    removed = await retention.sweep(pool, DAYS, beat=lambda: beats.append(None))
    assert len(beats) == len(RETENTION_KINDS)
    return removed


@pytest.fixture
async def app(start_app: StartApp, tmp_path: Path) -> AppServer:
    """Start an application whose workers do not touch the test's rows."""
    (tmp_path / SYSTEM_FILE).write_text('{"retention_days": 3650, "delivery_paused": true}')
    return await start_app()


async def add(
    app: AppServer,
    status: str = "forwarded",
    *,
    arrived: int = DAYS + 1,
    changed: int = DAYS + 1,
    imported: int | None = None,
) -> UUID:
    """Store a signal that arrived, changed and was imported so many days ago."""
    signal_id = uuid4()
    await app.context.pool.execute(_SIGNAL, signal_id, status, arrived, changed, imported)
    return signal_id


async def left(app: AppServer, table: str = "signals") -> int:
    """Return how many rows a table has."""
    count: int = await app.context.pool.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608  # names of ours
    return count


async def test_old_ended_signals_are_deleted_with_their_timeline(app: AppServer) -> None:
    for status in ("rejected", "forwarded", "failed", "expired"):
        await add(app, status)
    kept = [
        await add(app, arrived=DAYS - 1, changed=DAYS - 1),
        await add(app, changed=0),  # old, and replayed today
        await add(app, "approved"),  # nothing unfinished is deleted, however old
        await add(app, imported=0),
    ]
    removed = await sweep(app.context.pool)
    assert removed["signals"] == 4
    assert removed.keys() <= {"signals", "attempt_counts"}  # one count a second
    rows = await app.context.pool.fetch("SELECT id FROM signals ORDER BY seq")
    assert [row["id"] for row in rows] == kept
    assert await left(app, "signal_events") == await left(app, "attempts") == len(kept)
    assert await sweep(app.context.pool) == {}


async def test_a_batch_is_small_and_a_locked_row_waits_for_the_next(app: AppServer) -> None:
    await app.context.pool.execute(
        """INSERT INTO signals (id, status, type, ticker, received_at, status_at, expires_at, body)
           SELECT gen_random_uuid(), 'rejected', 'buy', 'AAPL', now() - interval '8 days',
                  now() - interval '8 days', now(), '{}' FROM generate_series(1, 600)"""
    )
    async with app.context.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM signals ORDER BY seq LIMIT 1 FOR UPDATE")
        assert await sweep(app.context.pool) == {"signals": 500}
        assert await sweep(app.context.pool) == {"signals": 99}
    assert await sweep(app.context.pool) == {"signals": 1}


async def test_lists_positions_paper_and_actions_age_too(app: AppServer) -> None:
    pool = app.context.pool
    for strategy, days in (("used", 9), ("used", 8), ("unused", 9), ("used", 0)):
        await pool.execute(
            """INSERT INTO top_n_lists (strategy, source, tickers, fetched_at)
               VALUES ($1, 'list', '{A}', now() - make_interval(days => $2))""",
            strategy,
            days,
        )
    await pool.execute(
        """INSERT INTO list_refreshes (list_id, strategy, at, top_n, further, is_whole)
           VALUES (1, 'old', now() - interval '8 days', 15, '{}', true), (1, 'new', now(), 15, '{}', true)"""
    )
    await pool.execute(
        """INSERT INTO decision_batches (at, signal_ids, inputs)
           VALUES (now() - interval '8 days', '{}', '{}'), (now(), '{}', '{"new": true}')"""
    )
    before = await left(app, "top_n_lists")
    await pool.execute(
        """INSERT INTO positions (ticker, status, opened_at, closed_at)
           VALUES ('OPEN', 'open', now() - interval '9 days', NULL),
                  ('OLD', 'closed', now() - interval '9 days', now() - interval '8 days'),
                  ('NEW', 'closed', now() - interval '9 days', now())"""
    )
    await pool.execute(
        """INSERT INTO paper_deliveries (webhook_id, headers, body, received_at)
           VALUES ('old', '{}', '', now() - interval '8 days'), ('new', '{}', '', now())"""
    )
    await pool.execute(
        """INSERT INTO actions (session, origin, action, result, at)
           VALUES ('', '', 'old', '', now() - interval '366 days'),
                  ('', '', 'new', '', now() - interval '364 days')"""
    )
    removed = await sweep(pool)
    assert removed == {
        "lists": 2,
        "list_refreshes": 1,
        "decision_batches": 1,
        "positions": 1,
        "paper": 1,
        "actions": 1,
    }
    assert await pool.fetchval("SELECT count(*) FROM list_refreshes WHERE strategy = 'old'") == 0
    assert await pool.fetchval("SELECT inputs FROM decision_batches") == {"new": True}
    assert await left(app, "top_n_lists") == before - 2
    assert {row["ticker"] for row in await pool.fetch("SELECT ticker FROM positions")} == {"OPEN", "NEW"}
    assert await pool.fetchval("SELECT webhook_id FROM paper_deliveries") == "new"
    assert await pool.fetchval("SELECT action FROM actions WHERE action IN ('old', 'new')") == "new"


async def test_after_a_full_batch_only_its_kind_is_swept_again(app: AppServer) -> None:
    pool = app.context.pool
    await pool.execute(
        """INSERT INTO signals (id, status, type, ticker, received_at, status_at, expires_at, body)
           SELECT gen_random_uuid(), 'rejected', 'buy', 'AAPL', now() - interval '8 days',
                  now() - interval '8 days', now(), '{}' FROM generate_series(1, 600)"""
    )
    old_position = """INSERT INTO positions (ticker, status, closed_at)
                      VALUES ('OLD', 'closed', now() - interval '8 days')"""
    await pool.execute(old_position)
    removed = await sweep(pool)
    assert removed == {"signals": 500, "positions": 1}
    assert retention.full_kinds(removed) == ("signals",)
    await pool.execute(old_position)
    beats = list[None]()
    rest = await retention.sweep(pool, DAYS, retention.full_kinds(removed), beat=lambda: beats.append(None))
    assert rest == {"signals": 100}
    assert len(beats) == 1
    assert retention.full_kinds(rest) == ()


async def test_the_application_sweeps_by_itself(start_app: StartApp, tmp_path: Path) -> None:
    (tmp_path / SYSTEM_FILE).write_text('{"retention_days": 3650, "delivery_paused": true}')
    first = await start_app()
    await add(first)
    first.stop()
    (tmp_path / SYSTEM_FILE).write_text(f'{{"retention_days": {DAYS}}}')
    second = await start_app()
    async with asyncio.timeout(10):
        while await left(second):
            await second.context.wakeups.wait("changed", 1)
