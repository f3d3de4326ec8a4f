"""Migrations of a database in use: no step holds back deliveries, and history counts for nothing."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from pogo_core.util.migrate import apply

from app.db.migrate import migrate
from app.db.queries import load
from tests.controller.checkout import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from tests.hosts.postgres import TestServer

DEADLINE_SECONDS = 60
VERSIONS_BEFORE = ("0e2ff1a", "cb1dd90", "3de6f89", "8abb4e7")  # that may serve on today's schema
# The last migration of the version that imports without a mark.
BEFORE = "20261127_02_rN5tC-queue-lookups"
_SIGNAL = """
    INSERT INTO signals (id, status, type, ticker, expires_at, body, imported_at)
    VALUES ($1, 'forwarded', 'buy', 'AAPL', now(), '{}', CASE WHEN $2 THEN now() END)
"""
_ATTEMPT = """
    INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, ended_at, outcome)
    SELECT $1, 1, n, 'd', '', gen_random_uuid(), now() - make_interval(secs => $3), 'unknown'
    FROM generate_series(1, $2) AS n
"""
EVERY_STATE = Path(__file__).with_name("every_state.sql")
_COLUMNS = """
    SELECT table_name, string_agg(quote_ident(column_name), ', ') AS columns FROM information_schema.columns
    JOIN pg_tables ON tablename = table_name AND schemaname = 'public'
    WHERE table_schema = 'public' AND tablename NOT LIKE '%pogo%' GROUP BY table_name
"""
# A step that marks attempts waits at its first row until this lock is released.
_HALT = """
    CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF to_jsonb(NEW) ->> 'imported' = 'true' THEN
            PERFORM pg_advisory_xact_lock_shared(42);
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER halt BEFORE UPDATE ON attempts FOR EACH ROW EXECUTE FUNCTION halt();
"""
_HALTED = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted)"


@pytest_asyncio.fixture
async def old_database(database_server: TestServer, tmp_path: Path) -> AsyncIterator[str]:
    """A database with the schema of the version before, and nothing in it."""
    name = await asyncio.to_thread(database_server.create)
    connection = await asyncpg.connect(database_server.url(name))
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        with as_file(files("app.db").joinpath("migrations")) as folder:
            for file in folder.glob("*.sql"):
                if file.stem <= BEFORE:
                    shutil.copy(file, tmp_path)
        await apply(connection, tmp_path, schema_name="public")
        yield database_server.url(name)
    finally:
        await connection.close()
        await asyncio.to_thread(database_server.drop, name)


async def test_rows_in_every_state_stay_as_they_are(old_database: str) -> None:
    """An update and a rollback find the same counts and the same book."""
    old = await asyncpg.connect(old_database)
    await old.execute(EVERY_STATE.read_text())
    columns = {row["table_name"]: row["columns"] for row in await old.fetch(_COLUMNS)}

    async def rows() -> dict[str, list[str]]:
        return {
            table: [row[0] for row in await old.fetch(f"SELECT ({names})::text FROM {table} ORDER BY 1")]  # noqa: S608
            for table, names in columns.items()
        }

    before = await rows()
    assert len(before) >= 12
    assert all(before.values())
    await migrate(old_database)
    assert await rows() == before
    await old.close()


def statements_of(version: str) -> dict[str, str]:
    """Every named statement of a version's application, by file and name."""

    def git(*command: str) -> str:
        return subprocess.run(
            ["git", *command], cwd=REPOSITORY, check=True, capture_output=True, text=True
        ).stdout

    listing = git("ls-tree", "-r", "--name-only", version, "app").splitlines()
    found = {}
    others = ("/migrations/", "/legacy.sql")  # the latter is for the replaced system's database
    for file in (
        name for name in listing if name.endswith(".sql") and not any(map(name.__contains__, others))
    ):
        for part in re.split(r"(?m)^-- name: ", git("show", f"{version}:{file}"))[1:]:
            name, _, statement = part.partition("\n")
            found[f"{file} {name}"] = statement
    return found


@pytest.mark.parametrize("version", VERSIONS_BEFORE)
async def test_the_statements_of_a_version_before_fit_the_schema(database_url: str, version: str) -> None:
    """It serves while an update runs, and again after a rollback."""
    connection, wrong = await asyncpg.connect(database_url), {}
    statements = statements_of(version)
    assert len(statements) > 80
    for name, statement in statements.items():
        try:
            await connection.prepare(statement)
        except asyncpg.PostgresError as error:
            wrong[name] = str(error)
    assert wrong == {}
    await connection.close()


@pytest.mark.parametrize(
    ("order_type", "intent", "effect", "left"),
    [
        ("buy", "open", "opens", None),
        ("sell", "reduce", "nothing", None),
        ("sell", "reduce_or_close", "nothing", None),
        ("sell", "adjust", "nothing", 10),
        ("sell", "close", "closes", "closed"),
    ],
)
async def test_what_a_version_before_delivers_leaves_no_wrong_quantity(
    database_url: str, order_type: str, intent: str, effect: str, left: object
) -> None:
    connection = await asyncpg.connect(database_url)
    signal, attempt = await attempt_of(connection, order_type, intent)
    await connection.fetch(
        statements_of("cb1dd90")["app/orders/queries.sql record_delivered"],
        *([attempt], [signal], [200], [b""], [effect], "the destination took it"),
    )
    row = await connection.fetchrow("SELECT * FROM positions")
    assert row is not None
    assert ("closed" if row["status"] == "closed" else row["quantity"]) == left
    await connection.close()


@pytest.mark.parametrize(("outcome", "left"), [("unknown", None), ("refused", 10), ("not_taken", 10)])
async def test_what_a_version_before_cannot_deliver_leaves_no_wrong_quantity(
    database_url: str, outcome: str, left: int | None
) -> None:
    connection = await asyncpg.connect(database_url)
    signal, attempt = await attempt_of(connection, "sell", "reduce")
    await connection.fetch(
        statements_of("cb1dd90")["app/orders/queries.sql record_undelivered"],
        *(attempt, signal, signal, outcome, None, None, None, None, None, "failed", "x", None, None, None),
    )
    assert await connection.fetchval("SELECT quantity FROM positions") == left
    await connection.close()


async def attempt_of(
    connection: asyncpg.Connection[asyncpg.Record], order_type: str, intent: str
) -> tuple[UUID, int]:
    """An open attempt of the version before, whose claim is its signal's id, and a position of 10 shares."""
    await connection.execute("INSERT INTO positions (ticker, quantity) VALUES ('AAPL', 10)")
    signal = uuid4()
    await connection.execute(
        """INSERT INTO signals (id, status, type, intent, ticker, claim_id, expires_at, body)
           VALUES ($1, 'forwarding', $2, $3, 'AAPL', $1, now() + interval '1 hour', '{}')""",
        *(signal, order_type, intent),
    )
    attempt = await connection.fetchval(
        """INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id)
           VALUES ($1, 1, 1, 'd', '', $1) RETURNING id""",
        signal,
    )
    return signal, attempt


async def test_deliveries_go_on_while_imported_attempts_are_marked(old_database: str) -> None:
    old, history = await asyncpg.connect(old_database), uuid4()
    await old.execute(_SIGNAL, history, True)  # noqa: FBT003  # a value of the statement
    await old.execute(_ATTEMPT, history, 3, 10.0)
    await old.execute(_HALT)
    await old.execute("SELECT pg_advisory_lock(42)")
    migration = asyncio.create_task(migrate(old_database))
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                assert not migration.done()
                if await old.fetchval(_HALTED):
                    break
                await asyncio.sleep(0.05)
        await old.execute("SET lock_timeout = '3s'")
        signal = uuid4()
        await old.execute(_SIGNAL, signal, False)  # noqa: FBT003  # a value of the statement
        await old.execute(_ATTEMPT, signal, 1, 0.0)
        await old.execute("UPDATE attempts SET outcome = 'delivered' WHERE signal_id = $1", signal)
    finally:
        await old.execute("SELECT pg_advisory_unlock(42)")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await migration
    assert await old.fetchval("SELECT count(*) FROM attempts WHERE imported") == 3
    assert await old.fetchval("SELECT count(*) FROM attempts WHERE NOT imported") == 1
    assert await old.fetchval("SELECT sum(ends) FROM attempt_counts WHERE seconds = 60") == 1
    await old.close()


async def test_imported_attempts_are_not_read_by_what_counts_attempts(database_url: str) -> None:
    """History is newer than what counts, as after an import into a database that has just been used."""
    connection = await asyncpg.connect(database_url)
    history, signal = uuid4(), uuid4()
    await connection.execute(_SIGNAL, history, True)  # noqa: FBT003  # a value of the statement
    await connection.execute(_SIGNAL, signal, False)  # noqa: FBT003  # a value of the statement
    await connection.execute(_ATTEMPT, history, 30_000, 1.0)
    await connection.execute(_ATTEMPT, signal, 40, 1800.0)
    await connection.execute("VACUUM ANALYZE attempts")
    await connection.execute("SET enable_seqscan = off")
    statements = {
        "read_recent_attempts": (
            load("app.orders", "destinations")["read_recent_attempts"],
            {"$1": "'d'", "$2": "'{}'", "$3": "50"},
        ),
        "read_ledger": (
            load("app.orders", "destinations")["read_ledger"],
            {"$1": "'d'", "$2": "'{60,3600}'", "$3": "'{1,1}'"},
        ),
    }
    for name, (statement, values) in statements.items():
        for placeholder, value in values.items():
            statement = statement.replace(placeholder, value)  # noqa: PLW2901  # step by step
        lines = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) {statement}")
        explained = "\n".join(line[0] for line in lines)
        assert "attempts_by_end" not in explained, name
        removed = [int(line[0].split(":")[1]) for line in lines if "Removed by Filter" in line[0]]
        assert sum(removed) < 200, explained
    await connection.close()


async def test_tickers_are_stored_in_one_form_whichever_version_stores_them(old_database: str) -> None:
    """The version before serves on after the migration, and after a rollback, and folds nothing itself."""
    old = await asyncpg.connect(old_database)
    for ticker, buys in (("BRK.B", 1), ("BRK-B", 2), ("AAPL", 1)):
        await old.execute("INSERT INTO positions (ticker, buys) VALUES ($1, $2)", ticker, buys)
    for status in ("received", "approved", "failed", "forwarded"):
        await old.execute(
            """INSERT INTO signals (id, status, type, ticker, expires_at, body)
               VALUES (gen_random_uuid(), $1, 'sell', 'BRK.B', now(), '{}')""",
            status,
        )
    await migrate(old_database)
    rows = await old.fetch("SELECT ticker, buys FROM positions WHERE status = 'open' ORDER BY ticker")
    assert [tuple(row) for row in rows] == [("AAPL", 1), ("BRK-B", 3)]
    await old.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, body)
           VALUES (gen_random_uuid(), 'received', 'sell', 'BRK.B', now(), '{}')"""
    )
    await old.execute(
        """INSERT INTO positions (ticker) VALUES ('BRK.B')
           ON CONFLICT (ticker) WHERE status = 'open' DO UPDATE SET buys = positions.buys + 1"""
    )
    assert await old.fetchval("SELECT buys FROM positions WHERE ticker = 'BRK-B' AND status = 'open'") == 4
    assert {row["ticker"] for row in await old.fetch("SELECT ticker FROM signals")} == {"BRK-B"}
    await old.close()
