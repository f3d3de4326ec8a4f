"""Orders while a version without the table `orders` serves, before an update and after a rollback."""

from __future__ import annotations

import asyncio
import json
import shutil
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
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
STEPS = ("20261130_02_oR4dT-orders", "20261130_03_uO5bF-unfinished-orders", "20261130_04_eO6bG-ended-orders")
OLD = {name.split()[1]: text for name, text in statements_of("cb1dd90").items() if "app/orders/" in name}
PAPER = destination_of(None)
REASONS = json.dumps(dict.fromkeys(ReasonCode, "why"))
_APPROVED = """
    INSERT INTO signals (id, status, type, ticker, intent, expires_at, body)
    VALUES ($1, 'approved', $2, $3, $4, now() + interval '1 hour', '{}')
"""
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


async def claim_as_before(connection: Any, limit: int = 1) -> list[asyncpg.Record]:
    """Claim as the version before does; return what it would send."""
    rows = await connection.fetch(OLD["claim"], uuid4(), limit, 30.0, PAPER.key, True, REASONS)  # noqa: FBT003
    return [row for row in rows if row["attempt"] is not None]


async def claim_now(connection: Connection, limit: int = 1) -> list[repository.Delivery]:
    """Claim as today's outbox does."""
    async with connection.transaction():
        due = await repository.lock_due(
            connection, limit=limit, destination=PAPER, has_token=True, exits_only=False
        )
        terms = [OrderTerms(Intent.OPEN if each.type == "buy" else Intent.CLOSE) for each in due]
        verdicts = [
            Verdict(each, term, Reason(ReasonCode.SENDING), {}) for each, term in zip(due, terms, strict=True)
        ]
        return await repository.claim(
            connection, claim_id=uuid4(), lease_seconds=30.0, destination=PAPER, verdicts=verdicts
        )


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
        how = (outcome, 503, b"", "x", None, None, status, "x", None, None, delay)
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
    await old.fetch(OLD["record_delivered"], [delivery.attempt], [signal], [200], [b""], ["opens"], "x")
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
        *(None, None, 0.0),
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

    async def drain(pool: Any, claim: Callable[[Any, int], Awaitable[list[Any]]]) -> int:
        claimed = 0
        async with pool.acquire() as connection:
            while left := await pool.fetchval("SELECT count(*) FROM signals WHERE status = 'approved'"):
                claimed += len(await claim(connection, min(3, left)))
        return claimed

    claimed = await asyncio.gather(
        *(drain(old, claim_as_before) for _ in range(3)), *(drain(new, claim_now) for _ in range(3))
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


@pytest.mark.parametrize("first", ["the claim", "the migration"])
async def test_a_claim_while_orders_are_made_is_not_lost(unmigrated: str, first: str) -> None:
    """The step that makes orders and a claim of the version before, each before the other has committed."""
    async with asyncpg.create_pool(unmigrated, min_size=0, max_size=3) as pool:
        signals = [await approve(pool, ticker) for ticker in ("A", "B")]
        await pool.execute(step(STEPS[0]))
        async with pool.acquire() as early, pool.acquire() as late:
            run: dict[str, Callable[[Any], Awaitable[Any]]] = {
                "the claim": claim_as_before,
                "the migration": lambda connection: connection.execute(step(STEPS[1])),
            }
            transaction = early.transaction()
            await transaction.start()
            await run.pop(first)(early)
            (second,) = run.values()
            waiting = asyncio.ensure_future(second(late))
            await asyncio.sleep(0.3)
            await transaction.commit()
            await waiting
        if first == "the migration":  # its locks let the claim pass over the signals
            await claim_as_before(pool)
        await pool.execute(step(STEPS[2]))
        assert [await orders_of(pool, signal) for signal in signals] == [
            [("sending", 1, 1)],
            [("pending", 1, 0)],
        ]
        await assert_orders_match(pool)
