"""What one transaction commits to a signal while another one changes it counts for both tables."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from app.db.pool import open_pool
from app.db.queries import load
from app.orders import clock_repository, dead_letters_repository, endings_repository, repository
from app.orders.repository import Verdict
from app.signals.book import OrderTerms
from app.signals.reading import Intent
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome, Status
from tests.api.test_orders_of_a_version_before import PAPER, claim_now, delivered, orders_of
from tests.api.trading.desk import assert_orders_match

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from app.db.pool import Connection, Pool

WHY = Reason(ReasonCode.SENDING)
_RECEIVED = """
    INSERT INTO signals (id, status, type, ticker, intent, received_at, status_at, expires_at, body)
    VALUES ($1, 'received', $2, 'AAPL', $3, now() + $4 * interval '1 min', now() + $4 * interval '1 min',
            now() + $5 * interval '1 min', '{}')
"""
# A statement that reads unfinished signals waits, after its snapshot was taken, until lock 42 is released.
_HALT = """
    CREATE FUNCTION halt() RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('test.halts', true) = 'on' THEN
            PERFORM pg_advisory_lock_shared(42);
            PERFORM pg_advisory_unlock_shared(42);
        END IF;
        RETURN true;
    END $$;
    DO $$
    BEGIN
        EXECUTE 'CREATE OR REPLACE VIEW unfinished_signals AS '
            || rtrim(pg_get_viewdef('unfinished_signals'::regclass), ';') || ' AND halt()';
    END $$;
"""
_HALTED = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted)"
_WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)"


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """Sessions of the application, of which some halt."""
    async with await open_pool(database_url, 4) as pool:
        yield pool
        await assert_orders_match(pool)


async def receive(pool: Pool, kind: str, *, ahead: int = 0, expires_in: int = 60) -> UUID:
    """Insert a signal that waits for its decision; its times are in minutes from now."""
    signal = uuid4()
    await pool.execute(_RECEIVED, signal, kind, "open" if kind == "buy" else "close", ahead, expires_in)
    return signal


async def approve(connection: Connection | Pool, signal: UUID, intent: str = "open") -> None:
    """Decide as the decision workers do."""
    decision = {"id": str(signal), "status": "approved", "reason": "x", "reason_code": "sending"}
    given = json.dumps(
        [decision | {"reason_params": {}, "detail": {}, "intent": intent, "destination": "default"}]
    )
    await connection.fetch(load("app.decision")["store_decisions"], given, [signal], {})


async def until(pool: Pool, query: str) -> None:
    """Wait until the query says true."""
    async with asyncio.timeout(10):
        while True:
            if await pool.fetchval(query):
                return
            await asyncio.sleep(0.01)


async def assert_leaves_at_once(pool: Pool, exit_: UUID) -> None:
    """The next claim sends the exit, and nothing else."""
    async with pool.acquire() as connection:
        assert [each.id for each in await claim_now(connection, 10)] == [exit_]


async def test_an_exit_leaves_at_once_that_overtakes_a_buy_while_it_is_approved(pool: Pool) -> None:
    buy, sell = await receive(pool, "buy"), await receive(pool, "sell")

    async def decide_exit() -> None:
        async with pool.acquire() as connection, connection.transaction():
            entries = await endings_repository.find_unsent_entries(connection, tickers=["AAPL"])
            assert entries == [buy]
            ended = await endings_repository.end_entries(connection, ids=entries, reason=WHY)
            assert [each.id for each in ended] == [buy]
            await approve(connection, sell, "close")

    async with pool.acquire() as first, asyncio.TaskGroup() as group, first.transaction():
        await approve(first, buy)
        group.create_task(decide_exit())
        await until(pool, _WAITING)
    assert await orders_of(pool, buy) == [("rejected", 1, 0)]
    await assert_orders_match(pool)
    await assert_leaves_at_once(pool, sell)


async def expire(connection: Connection) -> None:
    assert len(await endings_repository.expire(connection, limit=10)) == 1


async def end_unlocked(connection: Connection) -> None:
    assert len(await endings_repository.end_unlocked_entries(connection, reason=WHY)) == 1


async def shift(connection: Connection) -> None:
    moved = await clock_repository.shift_pending(
        connection, seconds=7200.0, is_age_unknown=False, last_seq=None
    )
    assert moved == 1


@pytest.mark.parametrize(
    ("change", "ahead", "expires_in", "left"),
    [
        (expire, -60, -1, "expired"),
        (end_unlocked, 0, 60, "rejected"),
        (shift, 60, 90, "pending"),  # expires half an hour ago
    ],
)
async def test_an_order_that_is_made_after_the_snapshot_follows_its_signal(
    pool: Pool, change: Callable[[Connection], Awaitable[None]], ahead: int, expires_in: int, left: str
) -> None:
    buy = await receive(pool, "buy", ahead=ahead, expires_in=expires_in)
    await pool.execute(_HALT)

    async def halted() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL test.halts = on")
            await change(connection)

    async with pool.acquire() as first, asyncio.TaskGroup() as group:
        await first.execute("SELECT pg_advisory_lock(42)")
        group.create_task(halted())
        await until(pool, _HALTED)
        await approve(first, buy)
        await first.execute("SELECT pg_advisory_unlock(42)")
    assert await orders_of(pool, buy) == [(left, 1, 0)]
    await assert_orders_match(pool)
    sell = await receive(pool, "sell")
    await approve(pool, sell, "close")
    await assert_leaves_at_once(pool, sell)


async def test_a_late_success_delivers_its_order_and_ends_a_replay_of_that_moment(pool: Pool) -> None:
    """The replay is committed while the success waits for the signal's lock."""
    buy = await receive(pool, "buy")
    await approve(pool, buy)
    async with pool.acquire() as connection:
        (delivery,) = await claim_now(connection)
        await undelivered(connection, delivery, Outcome.UNKNOWN, Status.FAILED, None)
    sell = await receive(pool, "sell")
    await approve(pool, sell, "close")

    async def record() -> None:
        async with pool.acquire() as connection:
            order = delivered(buy, delivery.attempt, has_ended=True)
            changes = await repository.record_delivered(connection, orders=[order])
            assert changes[buy].is_done

    async with pool.acquire() as first, asyncio.TaskGroup() as group, first.transaction():
        started = await dead_letters_repository.start_round(
            first, places={buy: ["default"]}, buy_seconds=60, other_seconds=60
        )
        assert started == 1
        group.create_task(record())
        await until(pool, _WAITING)
    assert await orders_of(pool, buy) == [("delivered", 1, 1), ("delivered", 2, 0)]
    assert await pool.fetchval("SELECT status FROM signals WHERE id = $1", buy) == "forwarded"
    await assert_orders_match(pool)
    await assert_leaves_at_once(pool, sell)


async def test_a_late_success_while_the_replay_is_being_sent(pool: Pool) -> None:
    """The replay's own outcome ends its attempt, and changes nothing else."""
    buy = await receive(pool, "buy")
    await approve(pool, buy)
    async with pool.acquire() as connection:
        (first,) = await claim_now(connection)
        await undelivered(connection, first, Outcome.UNKNOWN, Status.FAILED, None)
        await dead_letters_repository.start_round(
            connection, places={buy: ["default"]}, buy_seconds=60, other_seconds=60
        )
        (second,) = await claim_now(connection)
        late = delivered(buy, first.attempt, has_ended=True)
        assert (await repository.record_delivered(connection, orders=[late]))[buy].is_done
        assert await orders_of(pool, buy) == [("delivered", 1, 1), ("delivered", 2, 1)]
        change = await undelivered(connection, second, Outcome.UNKNOWN, Status.FAILED, None)
        assert (change.status, change.is_unclear) == (None, False)
        again = delivered(buy, first.attempt, has_ended=True)
        assert not (await repository.record_delivered(connection, orders=[again]))[buy].is_done
    assert await orders_of(pool, buy) == [("delivered", 1, 1), ("delivered", 2, 1)]


async def test_a_success_of_an_earlier_round_after_the_replay_was_delivered(pool: Pool) -> None:
    buy = await receive(pool, "buy")
    await approve(pool, buy)
    async with pool.acquire() as connection:
        (first,) = await claim_now(connection)
        await undelivered(connection, first, Outcome.UNKNOWN, Status.FAILED, None)
        await dead_letters_repository.start_round(
            connection, places={buy: ["default"]}, buy_seconds=60, other_seconds=60
        )
        (second,) = await claim_now(connection)
        await repository.record_delivered(connection, orders=[delivered(buy, second.attempt)])
        assert await orders_of(pool, buy) == [("unknown", 1, 1), ("delivered", 2, 1)]
        late = delivered(buy, first.attempt, has_ended=True)
        await repository.record_delivered(connection, orders=[late])
    assert await orders_of(pool, buy) == [("delivered", 1, 1), ("delivered", 2, 1)]


async def test_an_exit_that_was_attempted_after_the_snapshot_of_a_claim_is_passed_over(pool: Pool) -> None:
    """Its next attempt is not due. A second claim at once would send it before its time."""
    await pool.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    await receive(pool, "buy")  # whose row the halted claim looks at
    sell = await receive(pool, "sell")
    await approve(pool, sell, "close")
    await pool.execute(_HALT)

    async def halted() -> repository.ClaimedOrders:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL test.halts = on")
            due = await find_due(connection)
            assert [each.id for each in due] == [sell]
            return await claim_verdict(connection, Verdict(due[0], OrderTerms(Intent.CLOSE), WHY, {}))

    for delay in (60.0, 0.0, None):  # not due, due again, and put off by a person
        async with pool.acquire() as first, asyncio.TaskGroup() as group:
            await first.execute("SELECT pg_advisory_lock(42)")
            claiming = group.create_task(halted())
            await until(pool, _HALTED)
            if delay is None:
                await first.execute("UPDATE orders SET not_before = now() + interval '1 h'")
                await first.execute(
                    "UPDATE signals SET not_before = now() + interval '1 h' WHERE id = $1", sell
                )
            else:
                (delivery,) = await claim_now(first)
                await undelivered(first, delivery, Outcome.NOT_TAKEN, Status.APPROVED, delay)
            await first.execute("SELECT pg_advisory_unlock(42)")
        assert claiming.result() == ([], [])
        await pool.execute("UPDATE orders SET not_before = NULL WHERE signal_id = $1", sell)
        await pool.execute("UPDATE signals SET not_before = NULL WHERE id = $1", sell)
    assert await orders_of(pool, sell) == [("pending", 1, 2)]
    await assert_leaves_at_once(pool, sell)


@pytest.mark.parametrize("terms", [OrderTerms(Intent.OPEN), None], ids=["sent", "rejected"])
async def test_a_buy_that_a_clock_correction_expires_after_the_snapshot_is_passed_over(
    pool: Pool, terms: OrderTerms | None
) -> None:
    """Of unknown age: it is neither sent nor counted as rejected, and expires."""
    await receive(pool, "sell", expires_in=-1)  # whose row the halted claim looks at
    buy = await receive(pool, "buy", ahead=30)
    await approve(pool, buy)
    await pool.execute(_HALT)

    async def halted() -> repository.ClaimedOrders:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL test.halts = on")
            due = await find_due(connection)
            assert [each.id for each in due] == [buy]
            return await claim_verdict(connection, Verdict(due[0], terms, WHY, {}))

    async with pool.acquire() as first, asyncio.TaskGroup() as group:
        await first.execute("SELECT pg_advisory_lock(42)")
        claiming = group.create_task(halted())
        await until(pool, _HALTED)
        async with first.transaction():
            await clock_repository.shift_pending(first, seconds=7200.0, is_age_unknown=True, last_seq=None)
        await first.execute("SELECT pg_advisory_unlock(42)")
    assert claiming.result() == ([], [])
    assert await pool.fetchval("SELECT status FROM signals WHERE id = $1", buy) == "approved"


async def find_due(connection: Connection) -> list[repository.DueSignal]:
    """Return what is due, as the outbox does for one idle sender."""
    return await repository.find_due(
        connection, limit=1, destination=PAPER, has_token=True, exits_only=False, gap_seconds=0
    )


async def claim_verdict(connection: Connection, verdict: Verdict) -> repository.ClaimedOrders:
    """Claim one order."""
    return await repository.claim(
        connection, claim_id=uuid4(), lease_seconds=30.0, destination=PAPER, verdicts=[verdict], limit=1
    )


async def undelivered(
    connection: Connection,
    delivery: repository.Delivery,
    outcome: Outcome,
    status: Status,
    delay: float | None,
) -> repository.UndeliveredChange:
    """Record that a delivery has failed."""
    return await repository.record_undelivered(
        connection,
        attempt=delivery.attempt,
        signal=delivery.id,
        claim_id=delivery.claim_id,
        outcome=outcome,
        error=WHY,
        status=status,
        reason=WHY,
        retry_in_seconds=delay,
    )
