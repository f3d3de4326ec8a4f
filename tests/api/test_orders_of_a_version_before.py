"""Orders while a version without the table `orders` serves, before an update and after a rollback."""

from __future__ import annotations

import asyncio
import json
import shutil
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from pogo_core.util.migrate import apply

from app.db.migrate import migrate
from app.db.pool import open_pool
from app.orders import repository
from app.orders.destination import destination_of
from app.orders.repository import Verdict
from app.signals.book import OrderTerms
from app.signals.reading import Intent
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import Outcome, Status
from tests.api.test_migrations import EVERY_STATE, statements_of
from tests.api.trading.desk import assert_orders_match

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from app.db.pool import Connection, Pool
    from tests.hosts.postgres import TestServer

BEFORE = "20261130_01_wF3jK-what-if"
STEPS = (
    "20261130_02_oR4dT-orders",
    "20261130_03_uA5bF-unknown-orders",
    "20261130_04_eO6bG-orders-of-signals",
)
_STATEMENTS = statements_of("8abb4e72")
OLD = {name.split()[1]: text for name, text in _STATEMENTS.items() if "app/orders/" in name}
OLD_RETENTION = _STATEMENTS["app/ops/retention.sql signals"]
OLD_IMPORT = {name.split()[1]: text for name, text in _STATEMENTS.items() if "app/transfer/" in name}
PAPER = destination_of(None)
REASONS = json.dumps(dict.fromkeys(ReasonCode, "why"))
_APPROVED = """
    INSERT INTO signals (id, status, type, ticker, intent, expires_at, body)
    VALUES ($1, 'approved', $2, $3, $4, now() + interval '1 hour', '{}')
"""
_ENDED = """
    INSERT INTO signals (id, status, type, ticker, intent, attempts, expires_at, body, received_at, status_at)
    SELECT gen_random_uuid(), CASE n % 2 WHEN 0 THEN 'forwarded' ELSE 'failed' END, 'buy', 'OLD', 'open', 1,
           now(), '{}', now() - interval '90 days', now() - interval '90 days'
    FROM generate_series(1, $1::int) AS n
"""
_ORDERED = "SELECT count(*) FROM orders WHERE signal_id = ANY ($1::uuid[])"
_LEFT = "SELECT count(*) FROM signals WHERE status = 'approved'"
_ORDERS = "SELECT status, round, attempts FROM orders WHERE signal_id = $1 ORDER BY round"


@pytest_asyncio.fixture
async def old(database_url: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """Sessions of a version before."""
    async with asyncpg.create_pool(database_url, min_size=0, max_size=8) as pool:
        yield pool
        await assert_orders_match(pool)


@pytest_asyncio.fixture
async def new(database_url: str) -> AsyncIterator[Pool]:
    """Sessions of today's version."""
    async with await open_pool(database_url, 8) as pool:
        yield pool


async def claim_as_before(pool: asyncpg.Pool[asyncpg.Record], limit: int = 1) -> list[asyncpg.Record]:
    """Claim as the version before does; return what it would send."""
    async with pool.acquire() as connection, connection.transaction():
        return await claim_locked(connection, await lock_due_as_before(connection, limit))


async def lock_due_as_before(connection: Any, limit: int = 1) -> list[asyncpg.Record]:
    """Lock what is due, as the first statement of a claim of the version before."""
    due: list[asyncpg.Record] = await connection.fetch(OLD["lock_due"], limit, PAPER.key, True, False)  # noqa: FBT003
    return due


async def claim_locked(connection: Any, due: list[asyncpg.Record]) -> list[asyncpg.Record]:
    """Claim what is locked, as the second statement of a claim of the version before."""
    verdicts: list[dict[str, Any]] = [
        {
            "id": str(row["id"]),
            "intent": "open" if row["type"] == "buy" else "close",
            "reason": "x",
            "reason_code": "sending",
            "reason_params": {},
        }
        for row in due
    ]
    claimed: list[asyncpg.Record] = await connection.fetch(
        OLD["claim"], uuid4(), 30.0, PAPER.key, json.dumps(verdicts)
    )
    return claimed


def delivered(signal: UUID, attempt: int, *, has_ended: bool = False) -> repository.DeliveredOrder:
    """Return what a 2xx of a buy records where nothing is open."""
    how = {"has_ended": has_ended, "is_open": True, "buys": 1, "change": "opened", "is_confirmed": True}
    return repository.DeliveredOrder(attempt, signal, "default", 200, b"", **how)  # type: ignore[arg-type]


async def record_delivered_as_before(pool: Any, *orders: repository.DeliveredOrder) -> None:
    """Record successes as the version before does."""
    await pool.fetch(OLD["record_delivered"], msgspec.json.encode(orders).decode(), "x")


async def claim_now(connection: Connection, limit: int = 1) -> list[repository.Delivery]:
    """Claim as today's outbox does."""
    due = await repository.find_due(
        connection, limit=limit, destination=PAPER, has_token=True, exits_only=False, gap_seconds=0
    )
    terms = [OrderTerms(Intent.OPEN if each.type == "buy" else Intent.CLOSE) for each in due]
    verdicts = [
        Verdict(each, term, Reason(ReasonCode.SENDING), {}) for each, term in zip(due, terms, strict=True)
    ]
    claimed = await repository.claim(
        connection, claim_id=uuid4(), lease_seconds=30.0, destination=PAPER, verdicts=verdicts, limit=limit
    )
    return claimed.deliveries


async def approve(pool: Any, ticker: str, kind: str = "buy") -> UUID:
    """Approve a signal, as a version before does if the pool is one of its."""
    signal = uuid4()
    await pool.execute(_APPROVED, signal, kind, ticker, "open" if kind == "buy" else "close")
    return signal


async def orders_of(pool: Any, signal: UUID) -> list[tuple[str, int, int]]:
    """Return status, round and attempts of each order."""
    return [tuple(row) for row in await pool.fetch(_ORDERS, signal)]


async def test_what_a_version_before_does_to_a_signal_counts_for_its_order(
    old: asyncpg.Pool[asyncpg.Record], new: Pool
) -> None:
    async def undelivered(sent: asyncpg.Record, outcome: str, status: str, delay: float | None) -> None:
        claim = await old.fetchval("SELECT claim_id FROM signals WHERE id = $1", signal)
        how = (outcome, 503, b"", "x", None, None, status, "x", None, "{}", delay, "overtaken")
        await old.fetch(OLD["record_undelivered"], sent["attempt"], signal, claim, *how)

    signal = await approve(old, "AAPL")
    assert await orders_of(old, signal) == [("pending", 1, 0)]
    (sent,) = await claim_as_before(old)
    assert await orders_of(old, signal) == [("sending", 1, 1)]
    async with new.acquire() as connection:
        assert await claim_now(connection) == []
    await undelivered(sent, "not_taken", "approved", 60.0)
    assert await orders_of(old, signal) == [("pending", 1, 1)]
    async with new.acquire() as connection:
        assert await claim_now(connection) == []  # its next attempt is not due
    await old.execute("UPDATE signals SET not_before = NULL")
    (sent,) = await claim_as_before(old)
    await undelivered(sent, "unknown", "failed", None)
    assert await orders_of(old, signal) == [("unknown", 1, 2)]
    await old.fetch(OLD["start_round"], [signal], 60.0, 60.0, "again")
    assert await orders_of(old, signal) == [("unknown", 1, 2), ("pending", 2, 0)]
    async with new.acquire() as connection:
        (delivery,) = await claim_now(connection)
    assert delivery.webhook_id == f"{signal}.r2"
    await record_delivered_as_before(old, delivered(signal, delivery.attempt))
    assert await orders_of(old, signal) == [("unknown", 1, 2), ("delivered", 2, 1)]

    late = await approve(old, "NVDA")
    await old.execute("UPDATE signals SET expires_at = now() WHERE id = $1", late)
    await old.fetch(OLD["expire"], 10, REASONS)
    assert await orders_of(old, late) == [("expired", 1, 0)]
    await old.execute("DELETE FROM signals")
    assert await old.fetchval("SELECT count(*) FROM orders") == 0


async def test_a_version_before_goes_on_with_what_this_one_has_left(
    old: asyncpg.Pool[asyncpg.Record], new: Pool
) -> None:
    """After a rollback: an attempt of a sender that died is recovered, and its exit is sent again."""
    await old.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    signal = await approve(old, "AAPL", "sell")
    async with new.acquire() as connection:
        (delivery,) = await claim_now(connection)
    assert await claim_as_before(old) == []
    assert await old.fetch(OLD["lock_abandoned"], []) == []
    await old.execute("UPDATE signals SET lease_until = now() - interval '1 s'")
    await new.execute("SELECT 1")
    (left,) = await old.fetch(OLD["lock_abandoned"], [])
    assert (left["attempt"], left["claim_id"]) == (delivery.attempt, delivery.claim_id)
    # today's version renews the lease where the version before looks
    async with new.acquire() as connection:
        await repository.renew_leases(connection, attempts=[delivery.attempt], seconds=30.0)
    assert await old.fetch(OLD["lock_abandoned"], []) == []
    await new.execute("UPDATE signals SET lease_until = now() - interval '1 s'")
    (left,) = await old.fetch(OLD["lock_abandoned"], [])
    await old.fetch(
        OLD["record_undelivered"],
        *(left["attempt"], signal, left["claim_id"], "unknown", None, None, "x", None, None, "approved", "x"),
        *(None, "{}", 0.0, "overtaken"),
    )
    (again,) = await claim_as_before(old)
    assert (again["webhook_id"], again["number"]) == (str(signal), 2)
    assert await orders_of(old, signal) == [("sending", 1, 2)]


async def test_what_this_version_records_a_version_before_sees(
    old: asyncpg.Pool[asyncpg.Record], new: Pool
) -> None:
    signal = await approve(old, "AAPL")
    (sent,) = await claim_as_before(old)
    claim = await old.fetchval("SELECT claim_id FROM orders WHERE signal_id = $1", signal)
    change = await repository.record_undelivered(
        new,
        attempt=sent["attempt"],
        signal=signal,
        claim_id=claim,
        outcome=Outcome.NOT_TAKEN,
        error=None,
        status=Status.APPROVED,
        reason=Reason(ReasonCode.SENDING),
        retry_in_seconds=0.0,
    )
    assert change.status == Status.APPROVED
    (again,) = await claim_as_before(old)
    assert again["number"] == 2


async def test_two_versions_at_once_send_nothing_twice(old: asyncpg.Pool[asyncpg.Record], new: Pool) -> None:
    signals = {await approve(old, f"T{number}") for number in range(60)}

    async def claim_with_this(pool: Pool, limit: int) -> list[repository.Delivery]:
        async with pool.acquire() as connection:
            return await claim_now(connection, limit)

    async def drain(pool: Any, claim: Callable[[Any, int], Awaitable[list[Any]]]) -> int:
        claimed = 0
        while left := await pool.fetchval("SELECT count(*) FROM signals WHERE status = 'approved'"):
            claimed += len(await claim(pool, min(3, left)))
        return claimed

    claimed = await asyncio.gather(
        *(drain(old, claim_as_before) for _ in range(3)), *(drain(new, claim_with_this) for _ in range(3))
    )
    assert sum(claimed) == len(signals)
    attempts = await old.fetch("SELECT signal_id, count(*) FROM attempts GROUP BY signal_id")
    assert {row["signal_id"]: row["count"] for row in attempts} == dict.fromkeys(signals, 1)


@pytest_asyncio.fixture
async def unmigrated(database_server: TestServer, tmp_path: Path) -> AsyncIterator[str]:
    """A database as the version before made it."""
    name = await asyncio.to_thread(database_server.create)
    url = database_server.url(name)
    connection = await asyncpg.connect(url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with as_file(files("app.db").joinpath("migrations")) as folder:
        for file in folder.glob("*.sql"):
            if file.stem <= BEFORE:
                shutil.copy(file, tmp_path)
    await apply(connection, tmp_path, schema_name="public")
    await connection.close()
    yield url
    await asyncio.to_thread(database_server.drop, name)


def step(name: str) -> str:
    """Return what a migration applies."""
    text = files("app.db").joinpath("migrations", f"{name}.sql").read_text("utf-8")
    return text.partition("-- migrate: apply")[2].partition("-- migrate: rollback")[0]


async def test_signals_in_every_state_get_their_orders(unmigrated: str) -> None:
    async with asyncpg.create_pool(unmigrated, min_size=0, max_size=1) as pool:
        await pool.execute(EVERY_STATE.read_text())
        await migrate(unmigrated)
        rows = await pool.fetch(
            """SELECT s.status, array_agg(DISTINCT o.status) AS orders, count(o.id)
               FROM signals s LEFT JOIN orders o ON o.signal_id = s.id WHERE s.type IS NOT NULL
               GROUP BY s.status"""
        )
        assert {row["status"]: (sorted(filter(None, row["orders"])), row["count"]) for row in rows} == {
            "received": ([], 0),
            "approved": (["pending"], 10),
            "forwarding": (["sending"], 10),
            "forwarded": (["delivered"], 10),
            "failed": (["failed", "unknown"], 10),
            "expired": (["expired"], 10),
            "rejected": (["rejected"], 10),
        }
        await assert_orders_match(pool)


async def until_made(pool: asyncpg.Pool[asyncpg.Record], *signals: UUID) -> None:
    """Wait until these signals have orders."""
    async with asyncio.timeout(10):
        while True:
            if await pool.fetchval(_ORDERED, signals) == len(signals):
                return
            await asyncio.sleep(0.02)


async def test_a_claim_of_the_version_before_does_not_wait_for_the_migration(unmigrated: str) -> None:
    """It has locked a signal, and claims it while the migration makes the orders of all others."""
    async with asyncpg.create_pool(unmigrated, min_size=0, max_size=3) as pool:
        first, second = [await approve(pool, ticker) for ticker in ("A", "B")]
        for name in STEPS[:2]:
            await pool.execute(step(name))
        async with pool.acquire() as claiming, asyncio.TaskGroup() as group, claiming.transaction():
            due = await lock_due_as_before(claiming)
            migration = group.create_task(pool.execute(step(STEPS[2])))
            await until_made(pool, second)
            assert len(await claim_locked(claiming, due)) == 1
            assert not migration.done()
        assert await orders_of(pool, first) == [("sending", 1, 1)]
        assert await orders_of(pool, second) == [("pending", 1, 0)]
        await assert_orders_match(pool)


@pytest.mark.parametrize("ends", ["commits", "rolls back"])
async def test_the_migration_goes_on_where_signals_are_removed(unmigrated: str, ends: str) -> None:
    async with asyncpg.create_pool(unmigrated, min_size=0, max_size=3) as pool:
        await pool.execute(_ENDED, 3)
        await pool.execute("UPDATE signals SET received_at = now() WHERE seq = 3")  # too young
        for name in STEPS[:2]:
            await pool.execute(step(name))
        young = await pool.fetchval("SELECT id FROM signals WHERE seq = 3")
        async with pool.acquire() as removing, asyncio.TaskGroup() as group:
            transaction = removing.transaction()
            await transaction.start()
            assert await removing.execute(OLD_RETENTION, 30, 10) == "DELETE 2"
            migration = group.create_task(pool.execute(step(STEPS[2])))
            await until_made(pool, young)
            assert not migration.done()
            await (transaction.commit() if ends == "commits" else transaction.rollback())
        assert await pool.fetchval("SELECT count(*) FROM orders") == (1 if ends == "commits" else 3)
        await assert_orders_match(pool)


async def test_the_version_before_claims_and_removes_during_the_update(unmigrated: str) -> None:
    waiting, ended = 400, 4000

    async with asyncpg.create_pool(unmigrated, min_size=0, max_size=5) as pool:
        await pool.execute(_ENDED, ended)
        for number in range(waiting):
            await approve(pool, f"T{number}")
        migration = asyncio.create_task(migrate(unmigrated))

        async def claim_all() -> int:
            claimed = 0
            while not migration.done() or await pool.fetchval(_LEFT):
                sent = await claim_as_before(pool, 3)
                await record_delivered_as_before(
                    pool, *(delivered(each["id"], each["attempt"]) for each in sent)
                )
                claimed += len(sent)
                await asyncio.sleep(0.01)
            return claimed

        async def remove() -> int:
            removed = 0
            while not migration.done() or removed < ended:
                removed += int((await pool.execute(OLD_RETENTION, 30, 50)).split()[1])
                await asyncio.sleep(0.01)
            return removed

        *claimed, removed = await asyncio.gather(claim_all(), claim_all(), remove())
        await migration
        assert (sum(claimed), removed) == (waiting, ended)
        attempts = "SELECT count(*), count(DISTINCT signal_id) FROM attempts"
        assert tuple(await pool.fetchrow(attempts) or ()) == (waiting, waiting)
        assert await pool.fetchval("SELECT count(*) FROM orders WHERE status = 'delivered'") == waiting
        await assert_orders_match(pool)


async def test_a_late_success_that_a_version_before_records_ends_the_replay(
    old: asyncpg.Pool[asyncpg.Record], new: Pool
) -> None:
    signal = await approve(old, "AAPL")
    (sent,) = await claim_as_before(old)
    claim = await old.fetchval("SELECT claim_id FROM signals WHERE id = $1", signal)
    how = ("unknown", 503, b"", "x", None, None, "failed", "x", None, "{}", None, "overtaken")
    await old.fetch(OLD["record_undelivered"], sent["attempt"], signal, claim, *how)
    await old.fetch(OLD["start_round"], [signal], 60.0, 60.0, "again")
    await record_delivered_as_before(old, delivered(signal, sent["attempt"], has_ended=True))
    assert await orders_of(old, signal) == [("unknown", 1, 1), ("delivered", 2, 0)]
    async with new.acquire() as connection:
        assert await claim_now(connection) == []


async def test_unknown_orders_of_an_import_by_a_version_before(
    old: asyncpg.Pool[asyncpg.Record],
) -> None:
    """It inserts the signals first and their attempts in batches, here one by one."""
    now = await old.fetchval("SELECT now()")
    unknown, failed = uuid4(), uuid4()
    for signal in (unknown, failed):
        given = (
            signal,
            now,
            "failed",
            now,
            "buy",
            "AAPL",
            None,
            "x",
            None,
            1,
            2,
            now,
            b"{}",
            None,
            None,
            "{}",
        )
        await old.fetch(OLD_IMPORT["insert"], *([value] for value in given))
    for signal, outcomes in ((unknown, ("not_taken", "unknown")), (failed, ("unknown", "refused"))):
        for number, outcome in enumerate(outcomes, 1):
            ended = (signal, 1, number, "d", str(signal), now, now, outcome, None, None, None)
            await old.execute(OLD_IMPORT["insert_attempts"], *([value] for value in ended))
    assert await orders_of(old, unknown) == [("unknown", 1, 2)]
    assert await orders_of(old, failed) == [("failed", 1, 2)]
