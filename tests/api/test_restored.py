"""`python -m app prepare-restored`: what a restored database gets before it replaces the current one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.config.model import DECIDED, SYSTEM_FILE
from tests.api.operator import BEARER, alarms
from tests.conftest import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.api.conftest import AppServer
    from tests.hosts.postgres import TestServer

    StartApp = Callable[..., Awaitable[AppServer]]

SIGNAL = """
    INSERT INTO signals (id, status, type, ticker, expires_at, body, imported_at)
    VALUES (gen_random_uuid(), $1, $2, 'NVDA', now() + interval '1 hour', '{}', $3) RETURNING id
"""
ATTEMPT = """
    INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, ended_at, outcome)
    VALUES ($1, 1, 1, 'paper', 'x', gen_random_uuid(), now() - interval '1 min', 'delivered')
"""
CONFIGURE = "INSERT INTO configuration (revision, documents) VALUES (1, $1)"


@dataclass(frozen=True, slots=True)
class Databases:
    """The addresses of the database in use, and of the one that a dump was read into."""

    replaced: str
    incoming: str

    def prepare(self) -> subprocess.CompletedProcess[str]:
        """Run the command, whatever comes of it."""
        name = urlsplit(self.incoming).path[1:]
        return subprocess.run(
            [sys.executable, "-m", "app", "prepare-restored", name],
            env={"PATH": os.environ["PATH"], "DATABASE_URL": self.replaced},
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def hold(self) -> dict[str, int]:
        """Run the command; return what it reports as held."""
        done = self.prepare()
        assert done.returncode == 0, done.stderr
        held: dict[str, int] = json.loads(done.stdout)
        return held


@pytest.fixture
def databases(database_server: TestServer, database_url: str) -> Iterator[Databases]:
    """Two migrated databases; an application that a test starts uses the incoming one."""
    name = database_server.create()
    yield Databases(replaced=database_server.url(name), incoming=database_url)
    database_server.drop(name)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def documents_of(url: str) -> dict[str, Any]:
    async with connected(url) as connection:
        return dict(json.loads(await connection.fetchval("SELECT documents FROM configuration")))


async def configure(url: str, system: dict[str, Any], decided: dict[str, bool] | None = None) -> None:
    documents = {SYSTEM_FILE: system, **({DECIDED: {"revision": 1, "switches": decided}} if decided else {})}
    async with connected(url) as connection:
        await connection.execute(CONFIGURE, json.dumps(documents))


async def test_a_resume_in_the_dump_does_not_end_the_pause_of_the_restore(
    databases: Databases, start_app: StartApp, tmp_path: Path
) -> None:
    await configure(databases.incoming, {"delivery_paused": False}, {"delivery_paused": False})
    databases.hold()
    (tmp_path / SYSTEM_FILE).write_text('{"delivery_paused": true}')  # what the restore writes
    app = await start_app()
    assert app.context.is_configured
    assert app.context.config.system.delivery_paused
    assert json.loads((tmp_path / SYSTEM_FILE).read_text()) == {"delivery_paused": True}
    assert DECIDED not in await documents_of(databases.incoming)

    async with app.http.post("/admin/delivery/resume", headers=BEARER) as answer:
        assert answer.status == 200
    assert not app.context.config.system.delivery_paused


@pytest.mark.parametrize("content", ['{"delivery_paused": true, "engine_paused": "yes"}', "{"])
async def test_the_pause_holds_while_the_file_is_wrong(
    databases: Databases, start_app: StartApp, tmp_path: Path, content: str
) -> None:
    await configure(databases.incoming, {"delivery_paused": False, "mine": 1.50})
    databases.hold()
    (tmp_path / SYSTEM_FILE).write_text(content)
    app = await start_app()
    assert app.context.is_configured
    assert app.context.config.system.delivery_paused
    assert app.context.config.documents[SYSTEM_FILE]["mine"] == 1.5
    async with connected(databases.incoming) as connection:
        line = await connection.fetchrow("SELECT session, target, before, after FROM actions")
    assert line is not None
    assert tuple(line) == ("file", SYSTEM_FILE, '{"delivery_paused":false}', '{"delivery_paused": true}')


async def test_switches_of_today_hold_over_those_of_the_dump(
    databases: Databases, start_app: StartApp, tmp_path: Path
) -> None:
    await configure(
        databases.replaced,
        {},
        {"intake_paused": True, "engine_paused": False, "delivery_paused": False, "risk.buys": True},
    )
    await configure(
        databases.incoming, {"engine_paused": True, "risk": {"cooldown_seconds": 5}}, {"engine_paused": True}
    )
    databases.hold()
    (tmp_path / SYSTEM_FILE).write_text('{"delivery_paused": true}')
    system = (await start_app()).context.config.system
    assert (system.intake_paused, system.engine_paused, system.delivery_paused) == (True, False, True)
    assert system.buys_paused
    written = json.loads((tmp_path / SYSTEM_FILE).read_text())
    assert written["risk"]["buys"] == "off"
    assert "risk.buys" not in written


async def test_a_switch_that_an_older_version_carried_along_is_not_taken_over(databases: Databases) -> None:
    await configure(databases.replaced, {"intake_paused": False}, {"intake_paused": True})
    async with connected(databases.replaced) as connection:
        await connection.execute("UPDATE configuration SET revision = 2")
    await configure(databases.incoming, {})
    databases.hold()
    held = {"revision": 2, "switches": {"delivery_paused": True}}
    assert (await documents_of(databases.incoming))[DECIDED] == held


async def test_open_positions_of_the_dump_are_an_alarm_where_the_destination_is_live_now(
    databases: Databases, start_app: StartApp
) -> None:
    """They were opened on paper; `.env` has a URL since."""
    async with connected(databases.incoming) as incoming:
        buy = await incoming.fetchval(SIGNAL, "forwarded", "buy", None)
        await incoming.execute(ATTEMPT, buy)
        await incoming.execute("INSERT INTO positions (ticker, opened_by) VALUES ('NVDA', $1)", buy)
    databases.hold()
    found = list[set[str]]()
    for settings in ({"dest_webhook_url": "http://127.0.0.1:9/hook"}, {}):
        app = await start_app(**settings)
        found.append(await alarms(app) & {"destination_now_live", "destination_now_paper"})
        app.stop()
    assert found == [{"destination_now_live"}, set()]


async def test_imported_history_is_not_carried_over_as_what_limits_count(databases: Databases) -> None:
    async with connected(databases.replaced) as connection:
        now = await connection.fetchval("SELECT now()")
        for imported_at in (now, None):
            signal_id = await connection.fetchval(SIGNAL, "forwarded", "sell", imported_at)
            await connection.execute(ATTEMPT, signal_id)
        sent = signal_id
    assert databases.hold()["carried"] == 1
    async with connected(databases.incoming) as connection:
        signals = await connection.fetch("SELECT id FROM signals")
        attempts = await connection.fetch("SELECT signal_id, imported FROM attempts")
        counts = await connection.fetch("SELECT seconds, ends FROM attempt_counts ORDER BY seconds")
    assert [tuple(row) for row in signals] == [(sent,)]
    assert [tuple(row) for row in attempts] == [(sent, False)]
    assert [tuple(row) for row in counts] == [(1, 1), (60, 1)]


@pytest.mark.parametrize("older", ["replaced", "incoming"])
async def test_a_database_of_an_older_version_is_held_as_well(databases: Databases, older: str) -> None:
    async with connected(databases.replaced) as connection:
        now = await connection.fetchval("SELECT now()")
        for imported_at in (now, None):
            await connection.execute(
                ATTEMPT, await connection.fetchval(SIGNAL, "forwarded", "sell", imported_at)
            )
    async with connected(getattr(databases, older)) as connection:
        await connection.execute(
            "DROP TABLE configuration, actions;"
            "ALTER TABLE attempts DISABLE TRIGGER USER, DROP COLUMN imported CASCADE"
        )
    async with connected(databases.incoming) as connection:
        await connection.fetchval(SIGNAL, "approved", "buy", None)
    held = databases.hold()
    assert (held["carried"], held["held_buys"], held["held_others"]) == (1, 1, 0)
    async with connected(databases.incoming) as connection:
        orders = await connection.fetch("SELECT status FROM orders ORDER BY status")
    assert [row["status"] for row in orders] == ["delivered", "expired"]


async def test_what_the_destination_got_since_the_dump_is_carried_over(databases: Databases) -> None:
    async with connected(databases.replaced) as replaced, connected(databases.incoming) as incoming:
        known = await replaced.fetchval(SIGNAL, "forwarded", "sell", None)
        await replaced.execute(ATTEMPT, known)
        later = await replaced.fetchval(SIGNAL, "forwarded", "sell", None)
        await replaced.execute("UPDATE signals SET body = $2, price = 1.50 WHERE id = $1", later, b"\x00{}\\")
        await replaced.execute(ATTEMPT, later)
        await replaced.execute("INSERT INTO destinations VALUES ('paper', now() + interval '1 hour', '429')")
        # The dump was made while the first attempt was open; the other signal came afterwards.
        signal = await replaced.fetchrow("SELECT * FROM signals WHERE id = $1", known)
        assert signal is not None
        await incoming.execute(
            "INSERT INTO signals (id, status, type, ticker, expires_at, body)"
            " VALUES ($1, 'forwarding', 'sell', $2, $3, $4)",
            *(signal[name] for name in ("id", "ticker", "expires_at", "body")),
        )
        claim = await replaced.fetchval("SELECT claim_id FROM attempts WHERE signal_id = $1", known)
        for signal_id, claim_id in ((known, claim), (known, known)):
            await incoming.execute(
                "INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id)"
                " VALUES ($1, 1, 1, 'paper', 'x', $2)",
                *(signal_id, claim_id),
            )
        await incoming.execute("INSERT INTO destinations VALUES ('paper', now() + interval '1 day', 'older')")

        held = databases.hold()

        assert held == {"signals": 2, "open": 0, "held_buys": 0, "held_others": 1, "carried": 2}
        attempts = "SELECT outcome, error, ended_at FROM attempts WHERE claim_id = $1"
        ended = await replaced.fetchrow(attempts, claim)
        assert await incoming.fetchrow(attempts, claim) == ended
        cut_off = await incoming.fetchrow(attempts, known)
        assert cut_off is not None
        assert tuple(cut_off)[:2] == ("unknown", "restored")
        of_signal = "SELECT id, status, body, price::text, received_at, seq > 0 FROM signals WHERE id = $1"
        assert await incoming.fetchrow(of_signal, later) == await replaced.fetchrow(of_signal, later)
        events = "SELECT signal_id, status, reason FROM signal_events ORDER BY signal_id = $1"
        assert [tuple(row) for row in await incoming.fetch(events, known)] == [
            (
                later,
                "forwarded",
                "carried over from the replaced database, because it was sent within the last hour",
            ),
            (known, "expired", "restored"),
        ]
        holds = "SELECT destination, held_until, reason FROM destinations"
        assert await incoming.fetch(holds) == await replaced.fetch(holds)
        assert await replaced.fetchval("SELECT count(*) FROM signal_events") == 0


async def test_orders_at_other_destinations_are_carried_over_and_end(databases: Databases) -> None:
    """The dump has one that is unfinished, the replaced database one that was delivered at one of two."""
    order = """
        INSERT INTO orders (signal_id, destination, round, seq, type, ticker, status, expires_at, ended_at,
                            is_shared)
        SELECT id, $2, 1, seq, type, ticker, $3, expires_at, CASE WHEN $3 <> 'pending' THEN now() END, $4
        FROM signals WHERE id = $1
    """
    async with connected(databases.replaced) as replaced, connected(databases.incoming) as incoming:
        await replaced.execute("SET trading_signals.writes_orders = on")
        shared = await replaced.fetchval(SIGNAL, "failed", "buy", None)
        await replaced.execute(ATTEMPT, shared)
        await replaced.execute(order, *(shared, "default", "delivered", True))
        await replaced.execute(order, *(shared, "live", "failed", True))
        await replaced.execute("UPDATE attempts SET sent_to = 'live', outcome = 'refused'")
        await incoming.execute("SET trading_signals.writes_orders = on")
        waiting = await incoming.fetchval(SIGNAL, "approved", "sell", None)
        await incoming.execute(order, *(waiting, "live", "pending", False))
        await incoming.execute(
            "INSERT INTO positions (ticker, destination, status) VALUES ('A', 'live', 'held')"
        )

        held = databases.hold()

        assert held == {"signals": 2, "open": 1, "held_buys": 0, "held_others": 1, "carried": 1}
        found = await incoming.fetch("SELECT signal_id, destination, status FROM orders ORDER BY status")
        assert [tuple(row) for row in found] == [
            (shared, "default", "delivered"),
            (waiting, "live", "expired"),
            (shared, "live", "failed"),
        ]
        assert await incoming.fetchval("SELECT sent_to FROM attempts") == "live"
        assert await incoming.fetchval("SELECT status FROM signals WHERE id = $1", shared) == "failed"


@pytest.mark.parametrize("table", ["actions", "attempts", "destinations", "positions", "signal_events"])
async def test_a_failure_leaves_the_restored_database_as_it_was(databases: Databases, table: str) -> None:
    """Such as a table that the dump lacks, also where nothing is carried over into it."""
    await configure(databases.incoming, {})
    async with connected(databases.incoming) as connection:
        await connection.fetchval(SIGNAL, "approved", "buy", None)
        await connection.execute(f"ALTER TABLE {table} RENAME TO other")
    done = databases.prepare()
    assert done.returncode == 1
    assert done.stderr == f'error: relation "{table}" does not exist\n'
    async with connected(databases.incoming) as connection:
        assert await connection.fetchval("SELECT status FROM signals") == "approved"
