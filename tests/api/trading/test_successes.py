"""Successes that arrive together are committed together; one that cannot be stored fails on its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from app.db.pool import open_pool
from app.orders.outcomes import Success, Successes
from app.orders.repository import DeliveredChange
from app.signals.book import OrderTerms
from app.signals.reading import Intent
from tests.api.trading.desk import BY_TRIGGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from app.db.pool import Pool

TOO_LARGE_FOR_ITS_COLUMN = 70_000


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(database_url, 4, settings=BY_TRIGGER)
    await pool.execute("TRUNCATE signals, positions CASCADE")
    yield pool
    pool.terminate()


async def test_they_share_commits(pool: Pool) -> None:
    successes = [await sent(pool, f"T{number}") for number in range(40)]
    await write(pool, successes)
    assert await pool.fetchval("SELECT count(*) FROM attempts WHERE outcome = 'delivered'") == 40
    assert await pool.fetchval("SELECT count(*) FROM positions WHERE status = 'open' AND buys = 1") == 40
    assert await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM attempts") <= 3


async def test_successes_of_one_ticker_are_recorded_in_order(pool: Pool) -> None:
    successes = [await sent(pool, "AAPL") for _ in range(5)]
    changes = await write(pool, successes)
    assert await pool.fetchval("SELECT buys FROM positions WHERE ticker = 'AAPL' AND status = 'open'") == 5
    assert sorted(str(change.position) for change in changes if isinstance(change, DeliveredChange)) == [
        *["counted up"] * 4,
        "opened",
    ]


async def test_two_attempts_of_one_signal_change_its_position_once(pool: Pool) -> None:
    first = await sent(pool, "AAPL")
    again = await sent(pool, "AAPL", signal=first.signal)
    changes = await write(pool, [first, again, await sent(pool, "NVDA")])
    assert [change for change in changes[:2] if change is not None] != []
    assert None in changes[:2]
    assert await pool.fetchval("SELECT buys FROM positions WHERE ticker = 'AAPL'") == 1
    assert await pool.fetchval("SELECT count(*) FROM attempts WHERE outcome = 'delivered'") == 3


async def test_one_that_cannot_be_stored_delays_no_other(pool: Pool) -> None:
    good = [await sent(pool, f"T{number}") for number in range(6)]
    bad = await sent(pool, "BAD", status=TOO_LARGE_FOR_ITS_COLUMN)
    changes = await write(pool, [*good[:3], bad, *good[3:]])
    assert [number for number, change in enumerate(changes) if isinstance(change, Exception)] == [3]
    assert await pool.fetchval("SELECT count(*) FROM signals WHERE status = 'forwarded'") == 6


async def test_a_cancelled_sender_cancels_no_other(pool: Pool) -> None:
    """The sender that commits for all is cancelled: in each case all successes are stored."""
    successes = Successes(pool)
    all_of_them = [await sent(pool, f"T{number}") for number in range(8)]
    tasks = [asyncio.create_task(successes.write(success)) for success in all_of_them]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert not [result for result in results[1:] if isinstance(result, BaseException)]
    assert await pool.fetchval("SELECT count(*) FROM signals WHERE status = 'forwarded'") >= 7


async def write(pool: Pool, together: Sequence[Success]) -> list[DeliveredChange | BaseException | None]:
    """Record all of them at once; return the result of each."""
    successes = Successes(pool)
    return await asyncio.gather(*map(successes.write, together), return_exceptions=True)


async def sent(pool: Pool, ticker: str, *, signal: UUID | None = None, status: int = 200) -> Success:
    """Return a buy whose request was answered."""
    if signal is None:
        signal = uuid4()
        await pool.execute(
            """INSERT INTO signals (id, status, type, ticker, expires_at, body)
               VALUES ($1, 'forwarding', 'buy', $2, now() + interval '1 hour', '{}')""",
            *(signal, ticker),
        )
    attempt = await pool.fetchval(
        """INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id)
           VALUES ($1, 1, 1, 'test', $1::uuid::text, $2) RETURNING id""",
        *(signal, uuid4()),
    )
    return Success(attempt, signal, ticker, status, b"", OrderTerms(Intent.OPEN))
