"""SQL counts the limits exactly, for every version that writes attempts, and over steps of the clock."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.db.queries import load
from app.orders.destination import destination_of
from tests.api.operator import ask

if TYPE_CHECKING:
    from tests.api.conftest import AppServer
    from tests.api.trading.desk import Desk

LEDGER = load("app.orders", "destinations")["read_ledger"]
WINDOWS = (60, 3600)

# How long ago an attempt ended, in milliseconds, and whether it is imported history; None: it is open.
ENDS = st.lists(
    st.tuples(
        st.one_of(
            st.none(),
            st.integers(0, 4_000_000),
            st.sampled_from([59_000, 60_000, 61_000, 3_599_000, 3_600_000, 3_601_000]),
        ),
        st.booleans(),
    ),
    max_size=30,
)

_SIGNAL = """
    INSERT INTO signals (id, status, type, ticker, expires_at, body, imported_at)
    VALUES ($1, 'forwarded', 'buy', 'AAPL', now(), '{}', CASE WHEN $2 THEN now() END)
"""
_ATTEMPT = """
    INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, ended_at, imported)
    SELECT $1, 1, n, $2, '', gen_random_uuid(), now() - make_interval(secs => $4), $5
    FROM generate_series(1, $3) AS n
"""


async def store(
    connection: asyncpg.Connection[asyncpg.Record] | asyncpg.Pool[asyncpg.Record],
    destination: str,
    *,
    count: int = 1,
    ago: float = 0.0,
    is_imported: bool = False,
    is_marked: bool = True,
) -> UUID:
    """Store ended attempts of one signal; `is_marked`: the version that imported them knew the mark."""
    signal = uuid4()
    await connection.execute(_SIGNAL, signal, is_imported)
    await connection.execute(_ATTEMPT, signal, destination, count, ago, is_imported and is_marked)
    return signal


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ends=ENDS, moved=st.one_of(st.just(0), st.integers(-4000, 4000)))
def test_a_window_counts_the_same_as_all_attempts(
    database_url: str, ends: list[tuple[int | None, bool]], moved: int
) -> None:
    asyncio.run(_compare(database_url, ends, moved))


async def _compare(url: str, ends: list[tuple[int | None, bool]], moved: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("TRUNCATE signals CASCADE")
        signal = uuid4()
        await connection.execute(_SIGNAL, signal, *[False])
        for number, (ago, imported) in enumerate(ends):
            row = await connection.fetchval(
                """INSERT INTO attempts
                       (signal_id, round, number, destination, webhook_id, claim_id, imported)
                   VALUES ($1, 1, $2, 'd', '', gen_random_uuid(), $3) RETURNING id""",
                *(signal, number, imported),
            )
            if ago is not None:
                await connection.execute(
                    "UPDATE attempts SET ended_at = now() - make_interval(secs => $2) WHERE id = $1",
                    *(row, ago / 1000),
                )
        await connection.execute(
            "UPDATE attempts SET ended_at = ended_at - make_interval(secs => $1) WHERE ended_at IS NOT NULL",
            moved,
        )
        limits = [3, 5]
        rows = await connection.fetch(LEDGER, "d", list(WINDOWS), limits)
        now: datetime = rows[0]["now"]
        stored = await connection.fetch("SELECT ended_at, imported FROM attempts ORDER BY ended_at")
        still_open = sum(row["ended_at"] is None for row in stored)
        for row, seconds, limit in zip(rows, WINDOWS, limits, strict=True):
            since = now - timedelta(seconds=seconds)
            counting = [
                each["ended_at"]
                for each in stored
                if each["ended_at"] is not None and each["ended_at"] > since and not each["imported"]
            ]
            assert (row["open"], row["ended"]) == (still_open, len(counting))
            excess = len(counting) + still_open - limit
            leaves = counting[excess] if 0 <= excess < len(counting) else None
            assert row["leaves_at"] == (leaves + timedelta(seconds=seconds) if leaves else None)
    finally:
        await connection.close()


async def test_a_claim_reads_few_rows_however_large_the_limit_is(desk: Desk) -> None:
    await store(desk.database, "d", count=20_000, ago=30)
    await store(desk.database, "d", count=20_000, ago=1800)
    await desk.database.execute("VACUUM ANALYZE attempts, attempt_counts")
    async with desk.database.acquire() as connection:
        await connection.execute("SET enable_seqscan = off")
        statement = LEDGER
        for name, value in (("$1", "'d'"), ("$2", "'{60,3600}'"), ("$3", "'{100000,1000000}'")):
            statement = statement.replace(name, value)
        lines = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {statement}")
        explained = "\n".join(line[0] for line in lines)
        counted = await connection.fetch(LEDGER, "d", list(WINDOWS), [100_000, 1_000_000])
    assert [row["ended"] for row in counted] == [20_000, 40_000]
    read = [
        int(line.split("rows=")[-1].split()[0].rstrip(")"))
        for line in explained.splitlines()
        if "rows=" in line
    ]
    assert max(read) < 200, explained


@pytest.mark.parametrize("is_marked", [True, False])
async def test_imported_history_uses_no_token(desk: Desk, is_marked: bool) -> None:  # noqa: FBT001
    app = await desk.open(
        dest_webhook_rate_limiting_enabled=True,
        dest_webhook_max_req_per_min=60,
        dest_webhook_max_req_per_hour=60,
    )
    key = destination_of(app.context.config.webhook.url).key
    await store(desk.database, key, count=60, ago=-73 * 365 * 86_400, is_imported=True, is_marked=is_marked)
    await store(desk.database, key, count=60, ago=10, is_imported=True, is_marked=is_marked)
    signal = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, signal))["status"] == "forwarded"
    assert await desk.database.fetchval("SELECT sum(ends) FROM attempt_counts WHERE seconds = 60") == 1


async def test_a_used_up_limit_is_an_alarm_with_the_number_that_waits(desk: Desk) -> None:
    app = await desk.open(
        dest_webhook_rate_limiting_enabled=True,
        dest_webhook_max_req_per_min=1,
        dest_webhook_max_req_per_hour=1,
    )
    first = await desk.send(app, "AAPL", "buy")
    assert (await desk.until(app, first))["status"] == "forwarded"
    for ticker in ("NVDA", "TSLA"):
        await desk.until(app, await desk.send(app, ticker, "buy"), "approved")
    async with asyncio.timeout(60):
        while not (found := await alarm(app, "limit_exhausted")):
            await app.context.wakeups.wait("changed", 0.2)  # the outbox polls again within a second
    assert "2 orders wait" in found
    assert f"{app.context.delivery_of('default').limited_until:%H:%M} UTC" in found


async def alarm(app: AppServer, code: str) -> str:
    """Return the text of this alarm, empty without one."""
    status = await ask(app, "GET", "/admin/status")
    return next((each["text"] for each in status["alarms"] if each["code"] == code), "")


async def test_ends_ahead_of_the_clock_hold_an_exit_for_no_longer_than_their_window(desk: Desk) -> None:
    """The clock stepped back by two hours: all ends are in the future, the last by two hours."""
    app = await desk.open(
        dest_webhook_rate_limiting_enabled=True,
        dest_webhook_max_req_per_min=2,
        dest_webhook_max_req_per_hour=10,
    )
    key = destination_of(app.context.config.webhook.url).key
    await store(desk.database, key, ago=0)
    await store(desk.database, key, ago=70)
    await store(desk.database, key, count=3, ago=1000)
    await desk.database.execute(
        "UPDATE attempts SET started_at = started_at + interval '2 h', ended_at = ended_at + interval '2 h'"
    )
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    sell = await desk.send(app, "AAPL", "sell")
    assert (await desk.until(app, sell))["status"] == "forwarded"
    rows = await desk.database.fetch(
        """SELECT ended_at, started_at, clock_timestamp() AS now FROM attempts
           WHERE signal_id <> $1 ORDER BY ended_at DESC""",
        sell,
    )
    assert all(row["started_at"] <= row["ended_at"] <= row["now"] for row in rows)
    newest = rows[0]["ended_at"]
    assert [round((newest - row["ended_at"]).total_seconds()) for row in rows] == [0, 70, 1000, 1000, 1000]
    assert await alarm(app, "clock_stepped")
    async with app.http.get("/health") as answer:
        clock = (await answer.json())["checks"]["clock_step"]
    assert clock["status"] == "degraded"
    assert "back by" in clock["reason"]


async def lease_is_clamped(desk: Desk, signal: UUID) -> bool:
    """Return whether an earlier sender's lease lasts no longer than a request may take."""
    query = "SELECT lease_until < clock_timestamp() + interval '80 s' FROM signals WHERE id = $1"
    return bool(await desk.database.fetchval(query, signal))


@pytest.mark.parametrize(
    "statement",
    [
        """INSERT INTO destinations (destination, held_until, reason)
           VALUES ($1, now() + interval '2 h', 'HTTP 429')""",
        """INSERT INTO destinations (destination, held_until, reason, probe_at)
           VALUES ($1, now(), 'HTTP 503', now() + interval '2 h')""",
        """UPDATE signals SET not_before = now() + interval '2 h', attempts = 1
           WHERE id = $1::text::uuid OR status = 'approved'""",
        """WITH claimed AS (
               UPDATE signals SET status = 'forwarding', attempts = 1, claim_id = gen_random_uuid(),
                      lease_until = now() + interval '2 h'
               WHERE $1::text IS NOT NULL AND status = 'approved' RETURNING id, claim_id)
           INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id)
           SELECT id, 1, 1, 'elsewhere', '', claim_id FROM claimed""",
    ],
    ids=["held_until", "probe_at", "not_before", "lease_until"],
)
async def test_stored_times_ahead_of_the_clock_do_not_hold_an_exit(desk: Desk, statement: str) -> None:
    app = await desk.open()
    key = destination_of(app.context.config.webhook.url).key
    await desk.database.execute("INSERT INTO positions (ticker) VALUES ('AAPL')")
    await desk.database.execute(
        """INSERT INTO signals (id, status, type, ticker, expires_at, not_before, body)
           VALUES ($1, 'approved', 'sell', 'AAPL', now() + interval '1 h', now() + interval '30 s',
                   '{"ticker": "AAPL"}')""",
        (sell := uuid4()),
    )
    await desk.database.execute(statement, str(sell) if "uuid OR" in statement else key)
    if "not_before" not in statement:
        await desk.database.execute("UPDATE signals SET not_before = NULL WHERE id = $1", sell)
    if "lease_until" in statement:
        await desk.wait(app, lambda: lease_is_clamped(desk, sell), lambda: "the lease stays ahead")
        await desk.database.execute("UPDATE signals SET lease_until = now() WHERE id = $1", sell)
    row = await desk.until(app, sell)
    assert row["status"] == "forwarded"
    assert await alarm(app, "clock_stepped")
