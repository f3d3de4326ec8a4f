"""Each statement that changes a signal changes its order alike, in one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest_asyncio

from app.db.pool import open_pool
from app.db.queries import load
from app.decision.repository import Approval, approve_rejected_buys
from app.orders import clock_repository, dead_letters_repository, endings_repository, repository
from app.positions.repository import Place, insert_orders
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome, SignalType, Status
from tests.api.test_orders_of_a_version_before import claim_now, delivered, orders_of
from tests.api.trading.desk import assert_orders_match

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.db.pool import Pool

WHY = Reason(ReasonCode.SENDING)
LATER = "UPDATE signals SET {} = now() + interval '2 h' WHERE id = $1"
AHEAD = """
    UPDATE signals SET received_at = received_at + interval '1 h', status_at = now() + interval '1 h',
                       expires_at = expires_at + interval '1 h'
"""
_RECEIVED = """
    INSERT INTO signals (id, status, type, ticker, intent, expires_at, body)
    VALUES ($1, $2, $3, $4, $5, now() + interval '1 hour', '{}')
"""
_STATES = """
    SELECT status, (SELECT status FROM orders WHERE signal_id = s.id ORDER BY round DESC LIMIT 1) AS "order"
    FROM signals s WHERE id = $1
"""


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """Sessions of the application."""
    async with await open_pool(database_url, 2) as pool:
        yield pool
        await assert_orders_match(pool)


@pytest_asyncio.fixture
async def operator(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A session of another program, such as psql."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def decided(pool: Pool, ticker: str, kind: str = "buy", status: str = "approved") -> UUID:
    """Return a signal that was decided as the decision workers do."""
    signal, intent = uuid4(), "open" if kind == "buy" else "close"
    await pool.execute(_RECEIVED, signal, "received", kind, ticker, intent)
    decision = {"id": str(signal), "status": status, "reason": "why", "reason_code": "not_listed"}
    given = json.dumps(
        [
            decision
            | {"reason_params": {}, "detail": {}, "intent": intent, "quantity": 5}
            | {"destination": "default"}
        ]
    )
    await pool.fetch(load("app.decision")["store_decisions"], given, [signal], {})
    return signal


async def state(pool: Pool, signal: UUID) -> tuple[str, str | None]:
    """Return the signal's status, and that of its newest order."""
    row = await pool.fetchrow(_STATES, signal)
    assert row is not None
    await assert_orders_match(pool)
    return row["status"], row["order"]


async def test_a_decision_makes_an_order(pool: Pool) -> None:
    assert await state(pool, await decided(pool, "A")) == ("approved", "pending")
    assert await state(pool, await decided(pool, "B", status="rejected")) == ("rejected", None)
    rejected = await decided(pool, "C", status="rejected")
    async with pool.acquire() as connection:
        await approve_rejected_buys(
            connection, approvals=[Approval(rejected, WHY, {}, ["default"])], expires_in_seconds=60
        )
    assert await state(pool, rejected) == ("approved", "pending")
    async with pool.acquire() as connection, connection.transaction():
        (placed,) = await insert_orders(
            connection,
            order_type=SignalType.SELL_ALL,
            max_age_seconds=60,
            ids=[uuid4()],
            places=[Place("D", "default")],
            bodies=[b"{}"],
            reason=WHY,
        )
    assert await state(pool, placed.signal_id) == ("approved", "pending")


async def test_what_ends_before_it_leaves_ends_its_order(
    pool: Pool, operator: asyncpg.Connection[asyncpg.Record]
) -> None:
    late, ended, unlocked = [await decided(pool, ticker) for ticker in ("LATE", "ENDED", "UNLOCKED")]
    orphan = await decided(pool, "ORPHAN", "sell")
    await operator.execute("UPDATE signals SET expires_at = now() WHERE id = $1", late)
    undecided = uuid4()
    await pool.execute(_RECEIVED, undecided, "received", "buy", "U", "open")
    await pool.execute("UPDATE signals SET expires_at = now() WHERE id = $1", undecided)
    async with pool.acquire() as connection, connection.transaction():
        assert {each.id for each in await endings_repository.expire(connection, limit=10)} == {
            late,
            undecided,
        }
        (rejected,) = await endings_repository.reject_orphans(
            connection, tickers=["ORPHAN"], destination="default"
        )
        assert rejected.id == orphan
        await endings_repository.end_entries(connection, ids=[ended, orphan], reason=WHY)
        await endings_repository.end_unlocked_entries(connection, reason=WHY)
    assert await state(pool, late) == ("expired", "expired")
    assert await state(pool, undecided) == ("expired", None)
    for signal in (orphan, ended, unlocked):
        assert await state(pool, signal) == ("rejected", "rejected")


async def test_attempts_and_rounds(pool: Pool) -> None:
    buy = await decided(pool, "A")

    async def undelivered(outcome: Outcome, status: Status, delay: float | None) -> None:
        async with pool.acquire() as connection:
            (delivery,) = await claim_now(connection)
        assert await state(pool, buy) == ("forwarding", "sending")
        async with pool.acquire() as connection:
            # a stale claim changes nothing
            for claim, found in ((uuid4(), None), (delivery.claim_id, status)):
                change = await repository.record_undelivered(
                    connection,
                    attempt=delivery.attempt,
                    signal=buy,
                    claim_id=claim,
                    outcome=outcome,
                    error=WHY,
                    status=status,
                    reason=WHY,
                    retry_in_seconds=delay,
                )
                assert change.status == found

    async def replay() -> None:
        async with pool.acquire() as connection:
            started = await dead_letters_repository.start_round(
                connection, places={buy: ["default"]}, buy_seconds=60, other_seconds=60
            )
        assert started == 1
        assert await state(pool, buy) == ("approved", "pending")

    await undelivered(Outcome.NOT_TAKEN, Status.APPROVED, 0.0)
    assert await state(pool, buy) == ("approved", "pending")
    await undelivered(Outcome.REFUSED, Status.FAILED, None)
    assert await state(pool, buy) == ("failed", "failed")
    await replay()
    await undelivered(Outcome.UNKNOWN, Status.FAILED, None)
    assert await state(pool, buy) == ("failed", "unknown")
    await replay()
    assert await orders_of(pool, buy) == [("failed", 1, 2), ("unknown", 2, 1), ("pending", 3, 0)]
    async with pool.acquire() as connection:
        (delivery,) = await claim_now(connection)
        changes = await repository.record_delivered(connection, orders=[delivered(buy, delivery.attempt)])
    assert changes[buy].is_done
    assert await state(pool, buy) == ("forwarded", "delivered")


async def test_leases_and_times(pool: Pool, operator: asyncpg.Connection[asyncpg.Record]) -> None:
    buy, waiting = await decided(pool, "A"), await decided(pool, "B")
    async with pool.acquire() as connection:
        (delivery,) = await claim_now(connection)

        async def abandoned() -> list[Any]:
            async with connection.transaction():
                return await repository.lock_abandoned(connection, known=[])

        assert await abandoned() == []
        await operator.execute("UPDATE signals SET lease_until = now() - interval '1 s' WHERE id = $1", buy)
        assert [each.attempt for each in await abandoned()] == [delivery.attempt]
        async with pool.acquire() as other, other.transaction():
            await other.execute("SELECT FROM signals WHERE id = $1 FOR UPDATE", buy)
            assert await abandoned() == []  # another process recovers it
        await repository.renew_leases(connection, attempts=[delivery.attempt], seconds=30.0)
        assert await abandoned() == []
        assert await state(pool, buy) == ("forwarding", "sending")

        strays = await repository.end_strays(
            connection, known=[], longest_lease=0.0, error=ReasonCode.SENDER_DIED
        )
        assert strays == []  # its order has the claim
        await operator.execute(LATER.format("not_before"), waiting)
        await operator.execute(LATER.format("lease_until"), buy)
        limits = {"longest_hold": 60.0, "longest_probe_delay": 60.0, "longest_retry_delay": 60.0}
        times = await clock_repository.clamp_times(connection, **limits, longest_lease=60.0)
        assert times.clamped == 2
        await assert_orders_match(pool)
        latest = "SELECT max(greatest(not_before, lease_until)) <= now() + interval '60 s' FROM orders"
        assert await connection.fetchval(latest)

        await operator.execute(AHEAD)
        moved = await clock_repository.shift_pending(
            connection, seconds=3600.0, is_age_unknown=False, last_seq=None
        )
        assert moved == 2
        await assert_orders_match(pool)
        assert await connection.fetchval("SELECT max(expires_at) < now() + interval '61 min' FROM orders")


async def test_abandoned_attempts_are_recovered_in_the_order_of_their_signals(
    pool: Pool, operator: asyncpg.Connection[asyncpg.Record]
) -> None:
    signals = [await decided(pool, "A"), await decided(pool, "B", "sell")]
    async with pool.acquire() as connection:
        for signal in reversed(signals):  # an exit leaves first
            assert [each.id for each in await claim_now(connection)] == [signal]
        await operator.execute("UPDATE signals SET lease_until = now() - interval '1 s'")
        async with connection.transaction():
            abandoned = await repository.lock_abandoned(connection, known=[])
    assert [each.id for each in abandoned] == signals


async def test_an_attempt_that_no_sender_has_may_have_been_executed(
    pool: Pool, operator: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Its signal has failed meanwhile: now its order's outcome is unknown."""
    buy = await decided(pool, "A")
    async with pool.acquire() as connection:
        (delivery,) = await claim_now(connection)
        failed = (
            "UPDATE signals SET status = 'failed', status_at = now(), claim_id = NULL, lease_until = NULL"
        )
        await operator.execute(failed)
        assert await state(pool, buy) == ("failed", "failed")
        (stray,) = await repository.end_strays(
            connection, known=[], longest_lease=0.0, error=ReasonCode.SENDER_DIED
        )
    assert (stray.attempt, stray.is_unclear) == (delivery.attempt, True)
    assert await state(pool, buy) == ("failed", "unknown")


async def test_an_attempt_of_an_earlier_round_says_what_became_of_its_own_order(
    pool: Pool, operator: asyncpg.Connection[asyncpg.Record]
) -> None:
    """It has lost its sender, and is ended after the replay was sent and refused."""
    buy = await decided(pool, "A")
    async with pool.acquire() as connection:
        await claim_now(connection)
        await operator.execute(
            "UPDATE signals SET status = 'failed', status_at = now(), claim_id = NULL, lease_until = NULL"
        )
        await dead_letters_repository.start_round(
            connection, places={buy: ["default"]}, buy_seconds=60, other_seconds=60
        )
        (again,) = await claim_now(connection)
        change = await repository.record_undelivered(
            connection,
            attempt=again.attempt,
            signal=buy,
            claim_id=again.claim_id,
            outcome=Outcome.REFUSED,
            error=WHY,
            status=Status.FAILED,
            reason=WHY,
            retry_in_seconds=None,
        )
        assert change.status == Status.FAILED
        assert await orders_of(pool, buy) == [("failed", 1, 1), ("failed", 2, 1)]
        await repository.end_strays(connection, known=[], longest_lease=0.0, error=ReasonCode.SENDER_DIED)
    assert await orders_of(pool, buy) == [("unknown", 1, 1), ("failed", 2, 1)]


async def test_a_program_that_knows_no_orders_changes_them(
    pool: Pool, operator: asyncpg.Connection[asyncpg.Record]
) -> None:
    buy = await decided(pool, "A")
    await operator.execute("UPDATE signals SET status = 'expired', status_at = now() WHERE id = $1", buy)
    assert await state(pool, buy) == ("expired", "expired")
    await operator.execute("DELETE FROM signals WHERE id = $1", buy)
    assert await pool.fetchval("SELECT count(*) FROM orders") == 0
