"""Query plans with outdated statistics: no statement reads the queue repeatedly, or ended signals.

Rows are counted, not seconds: `EXPLAIN (ANALYZE)` says how many each step of a plan read.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from app.db.pool import KEPT_PLANS, open_pool
from app.db.queries import load
from app.signals.reasons import ReasonCode, templates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from asyncpg import Record

    from app.db.pool import Connection

WAITING = 5_000  # of each status
ENDED = 200_000
BATCH = 100
FILL_SECONDS = 300
TICKERS = 200
# The queue a few times, or a batch for each of its own rows. The queue for each row of a batch is far more.
MOST = 3 * 2 * WAITING

_ENDED = """
INSERT INTO signals (id, status, type, ticker, expires_at, body)
SELECT gen_random_uuid(),
       CASE WHEN n % 100 = 99 THEN 'failed' WHEN n % 3 = 0 THEN 'forwarded' ELSE 'rejected' END, 'buy',
       $2 || n % 100, now(), '{}'
FROM generate_series(1, $1::int) AS n
"""
_WAITING = """
INSERT INTO signals (id, status, type, ticker, expires_at, claim_id, lease_until, body)
SELECT gen_random_uuid(), $2, CASE WHEN n % 5 = 4 THEN 'sell' ELSE 'buy' END, $3 || n % $4,
       now() + interval '1 hour',
       CASE $2 WHEN 'forwarding' THEN gen_random_uuid() END, CASE $2 WHEN 'forwarding' THEN now() END, '{}'
FROM generate_series(1, $1::int) AS n
"""
_ATTEMPTS = """
INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id)
SELECT id, 1, 1, 'there', id::text, claim_id FROM signals WHERE status = 'forwarding'
"""
# Of the signals without one: a session of the application writes its orders itself.
_ORDERS = """
INSERT INTO orders (signal_id, round, seq, type, ticker, intent, quantity, quantity_unit, sentiment, status,
                    attempts, expires_at, not_before, claim_id, lease_until, ended_at)
SELECT * FROM orders_of_signals o
WHERE seq > coalesce((SELECT max(seq) FROM orders), 0)
ORDER BY seq
"""
_POSITIONS = (
    "INSERT INTO positions (ticker, quantity) SELECT 'F' || n, n FROM generate_series(0, $1::int - 1) AS n"
)
_LIST = """
INSERT INTO top_n_lists (strategy, source, tickers)
SELECT 'Long', 'list', array_agg('R' || n) FROM generate_series(1, $1::int) AS n
"""

# Of a ticker: exits that were delivered long ago, imported ones, and adjustments.
_EXITS = """
INSERT INTO signals (id, status, type, intent, ticker, expires_at, status_at, imported_at, body)
SELECT gen_random_uuid(), 'forwarded', 'sell', CASE WHEN n % 3 = 0 THEN 'adjust' ELSE 'close' END, 'R1',
       now(), now() - CASE WHEN n % 3 = 2 THEN interval '2 days' ELSE interval '1 second' END,
       CASE WHEN n % 3 = 1 THEN now() END, '{}'
FROM generate_series(1, $1::int) AS n
"""
# At the destination: exits of the day, entries of an earlier one, and entries that were not accepted.
_DELIVERED = """
INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, ended_at, outcome, intent)
SELECT s.id, 1, n, 'there', '', gen_random_uuid(),
       now() - CASE WHEN n % 3 = 1 THEN interval '2 days' ELSE interval '1 second' END,
       CASE WHEN n % 3 = 2 THEN 'not_taken' ELSE 'delivered' END,
       CASE WHEN n % 3 = 0 THEN 'close' ELSE 'open' END
FROM (SELECT id FROM signals LIMIT 1) AS s, generate_series(1, $1::int) AS n
"""
# Of each ticker: an entry with its attempt and a closed position; of those up to $2 also an open one.
_TRADES = """
WITH bought AS (
    INSERT INTO signals (id, status, type, ticker, expires_at, body)
    SELECT gen_random_uuid(), 'forwarded', 'buy', 'T' || n, now(), '{}' FROM generate_series(1, $1::int) AS n
    RETURNING id, ticker, substr(ticker, 2)::int AS number
), attempted AS (
    INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, ended_at, outcome)
    SELECT id, 1, 1, 'there', '', id, now(), 'delivered' FROM bought
)
INSERT INTO positions (ticker, status, opened_by, opened_at, closed_at)
SELECT ticker, status, CASE status WHEN 'open' THEN id END,
       CASE status WHEN 'open' THEN now() ELSE now() - interval '1 day' END,
       CASE status WHEN 'closed' THEN now() - interval '1 day' END
FROM bought, unnest(ARRAY['closed', 'open']) AS status
WHERE status = 'closed' OR number <= $2
"""

# Of each ticker: a position at two destinations, and an exit that waits at one and has failed at the other.
_EXITS_AT_TWO = """
WITH held AS (
    INSERT INTO positions (ticker, destination, status, opened_at)
    SELECT 'T' || n, name, status, now() - interval '1 hour'
    FROM generate_series(1, $1::int) AS n, (VALUES ('default', 'open'), ('live', 'held')) AS at (name, status)
), sold AS (
    INSERT INTO signals (id, status, type, ticker, received_at, expires_at, body)
    SELECT gen_random_uuid(), 'approved', 'sell', 'T' || n, now() - interval '1 minute',
           now() + interval '1 hour', '{}'
    FROM generate_series(1, $1::int) AS n
    RETURNING id, seq, ticker, expires_at
)
INSERT INTO orders (signal_id, destination, round, seq, type, ticker, status, expires_at, ended_at, is_shared)
SELECT id, name, 1, seq, 'sell', ticker, status, expires_at, CASE status WHEN 'failed' THEN now() END, true
FROM sold, (VALUES ('default', 'pending'), ('live', 'failed')) AS at (name, status)
"""

APART = ("exits", "entries")  # where a risk rule counts, a claim is for one of the two
REASONS = (ReasonCode.EXPIRED_UNDECIDED, ReasonCode.EXPIRED_UNSENT, ReasonCode.EXPIRED)

_NO_FILTER = "'{{}}'" + ", NULL" * 10  # `SignalFilter.arguments`
STATEMENTS: Mapping[str, str] = {  # with what each is run
    "intake.insert_posts_of_crash": "0.001",
    "decision.claim_signals": "{batch}, 'Long', false, 9, 'all', '{{default}}'",
    "decision.lock_entries": "{undecided}",
    "decision.find_undecided_exits": "{tickers}",
    "decision.lock_first_undecided": "{tickers}",
    "decision.find_entries_before": "ARRAY['R1'], ARRAY[1000000::bigint]",
    "decision.store_decisions": "{decisions}, {undecided}, '{{}}'",
    "orders.find_due": "{batch}, 'there', true, false, 'default', 10",
    "orders.claim": "gen_random_uuid(), 30, 'there', {verdicts}, {batch}",
    "orders.record_delivered": "{successes}, 'delivered'",
    "orders.record_undelivered": (
        "1, gen_random_uuid(), gen_random_uuid(), 'unknown', 500, '', '', '', '{{}}', "
        "'approved', '', '', '{{}}', 1, ''"
    ),
    "orders/endings.find_unsent_entries": "{tickers}, NULL, NULL",
    "orders/endings.end_entries": "{undecided}, 'x', 'overtaken', '{{}}', 'default'",
    "orders/endings.lock_free_signals": "{undecided}",
    "orders.lock_signals": "{undecided}",
    "orders.read_ended_attempt": "{attempt}",
    "orders.lock_abandoned": "'{{}}'",
    "orders.renew_leases": "{attempts}, 30",
    "orders.end_strays": "'{{}}', 75, 'left open', 'sender_died'",
    "orders/endings.find_overdue": "{batch}",
    "orders/endings.expire": "{undecided}, {reasons}",
    "orders/endings.end_orders": "{ordered}, 'expired'",
    "orders/endings.reject_orphans": "'{{A1,A2,A3,A4}}', 'no buy', 'default'",
    "orders/clock.read_clock": "",
    "orders/clock.read_seconds_ahead": "",
    "orders/clock.shift_pending": "5, false, {batch}",
    "orders/clock.shift_orders": "{ordered}",
    "orders/clock.has_pending_ahead": "",
    "orders/clock.clamp_times": "60, 60, 60, 60",
    "orders/dead_letters.read_dead_letters": f"{_NO_FILTER}, NULL, {{batch}}",
    "orders/dead_letters.read_replay_candidates": (
        f"{_NO_FILTER}, NULL, {{batch}}, true, true, '{{{{default}}}}', true"
    ),
    "orders/dead_letters.start_round": "{failed}, 60, 60, 'replayed', {failed}, '{{default}}'",
    "decision.read_risk_counts": "{tickers}, 'there', now() - interval '1 day', 86400, 5, true, 'default'",
    "decision.find_candidates": "{tickers}, 0, 0, NULL, '{{default}}'",
    "positions.open_positions": "NULL",
    "positions.places_being_bought": "",
    "positions.pending_orders": "{tickers}, '{{buy,sell}}', '{{default}}'",
    "ops.queues": "",
    "ops.at_risk": "'{{there}}'",
    "alarms.read_other_kind": "'{{default,gone}}', '{{there,\"gone: paper\"}}', '{{true,false}}', 11",
    "transfer.extent": "",
    "transfer.insert_orders": "{ordered}",
    "transfer.page": "0, 1000000, {batch}, NULL",
    "admin.signals": f"{_NO_FILTER}, NULL, {{batch}}, false",
    "admin.waiting": "",
    "admin.wait_facts": "{newest}, '{{default}}', '{{there}}', '{{10}}'",
}


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """Open a connection as the application does, to tables without autovacuum."""
    pool = await open_pool(database_url, 1)
    async with pool, pool.acquire() as connection:
        for table in ("signals", "orders", "attempts"):
            await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        # a process that crashed: no backend has this pid
        await connection.execute("INSERT INTO intake_processes VALUES (gen_random_uuid(), 0, now())")
        yield connection


@pytest.mark.parametrize("listed", [200, 0])
@pytest.mark.parametrize("ended", [0, 2_000])
@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_no_statement_reads_the_queue_over_and_over(
    connection: Connection, mode: str, ended: int, listed: int
) -> None:
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute(_ENDED, ended, "H")
    await connection.execute(_ORDERS, timeout=FILL_SECONDS)
    await connection.execute("VACUUM ANALYZE")
    plans = {name: await prepare(connection, name) for name in STATEMENTS}

    if listed:  # without a list buys wait
        await connection.execute(_LIST, listed)
    await connection.execute(_WAITING, BATCH, "forwarding", "F", TICKERS)
    await connection.execute(_WAITING, WAITING, "received", "R", TICKERS)
    await connection.execute(_WAITING, WAITING, "approved", "A", TICKERS)
    await connection.execute(_ATTEMPTS)
    await connection.execute(_ORDERS, timeout=FILL_SECONDS)
    arguments = await make_arguments(connection)

    read = await read_by_all(connection, plans, arguments)
    assert {name: rows for name, rows in read.items() if rows > MOST} == {}


@pytest.mark.parametrize("is_analysed_empty", [True, False])
@pytest.mark.parametrize("waiting", ["approved", "received"])
async def test_no_statement_reads_what_has_ended(
    connection: Connection,
    waiting: str,
    is_analysed_empty: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    if is_analysed_empty:
        await connection.execute("ANALYZE")
    await connection.execute(_ENDED, ENDED, "A", timeout=FILL_SECONDS)  # the tickers of what waits
    await connection.execute(_WAITING, BATCH, "forwarding", "F", TICKERS)
    await connection.execute(_WAITING, WAITING, waiting, "A", TICKERS)
    await connection.execute(_ATTEMPTS)
    await connection.execute(_ORDERS, timeout=FILL_SECONDS)
    # as autovacuum does, without statistics
    await connection.execute("SELECT brin_summarize_new_values('signals_by_arrival')")
    for statistics in ("stale", "current"):
        if statistics == "current":
            await connection.execute("VACUUM ANALYZE")
        plans = {name: await prepare(connection, name) for name in STATEMENTS}
        arguments = await make_arguments(connection)
        for mode in ("force_generic_plan", "force_custom_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            read = await read_by_all(connection, plans, arguments)
            assert {name: rows for name, rows in read.items() if rows > BATCH * BATCH} == {}, statistics
        for plan in plans.values():
            await connection.execute(f"DEALLOCATE {plan}")


async def test_a_tickers_signals_are_not_read_for_each_of_them(connection: Connection) -> None:
    await connection.execute(_ENDED, ENDED // 2, "A", timeout=FILL_SECONDS)
    for status in ("received", "approved"):
        await connection.execute(_WAITING, WAITING // 5, status, "A", 1)
    await connection.execute(_ORDERS, timeout=FILL_SECONDS)
    await connection.execute("VACUUM ANALYZE")
    arguments = await make_arguments(connection)
    for name in ("decision.claim_signals", "orders.find_due", "orders/endings.reject_orphans"):
        plan = await prepare(connection, name)
        for claim in ("all", *APART):
            given = arguments[name].replace("A1", "A0").replace("'all'", f"'{claim}'")
            assert await rows_read(connection, plan, given) <= MOST, name


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_a_claim_of_tickers_with_orders_reads_none_of_others(connection: Connection, mode: str) -> None:
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute("ANALYZE")
    plan = await prepare(connection, "decision.claim_signals")
    for status in ("approved", "received"):
        await connection.execute(_WAITING, WAITING, status, "A", TICKERS)
    await connection.execute(_ORDERS, timeout=FILL_SECONDS)
    arguments = (await make_arguments(connection))["decision.claim_signals"]
    for _ in ("with statistics of empty tables", "with their own"):
        for claim in ("all", *APART):
            given = arguments.replace("'all'", f"'{claim}'")
            assert await rows_read(connection, plan, given) <= MOST
        await connection.execute("ANALYZE")


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_the_risk_rules_do_not_search_for_what_they_count(connection: Connection, mode: str) -> None:
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute("ANALYZE")
    statement = "decision.read_risk_counts"
    plan = await prepare(connection, statement)
    await connection.execute(_EXITS, ENDED // 10)
    await connection.execute(_DELIVERED, ENDED // 10)
    arguments = (await make_arguments(connection))[statement]
    for _ in ("with statistics of empty tables", "with their own"):
        assert await rows_read(connection, plan, arguments) <= BATCH
        await connection.execute("VACUUM ANALYZE")


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_a_claim_of_exits_reads_no_buy_that_waits(connection: Connection, mode: str) -> None:
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute("ANALYZE")
    plan = await prepare(connection, "orders.find_due")
    await connection.execute(_WAITING.replace("'sell'", "'buy'"), WAITING, "approved", "A", TICKERS)
    await connection.execute(_ORDERS, timeout=FILL_SECONDS)
    arguments = (await make_arguments(connection))["orders.find_due"].replace("false", "true")
    for _ in ("with statistics of an empty table", "with its own"):
        assert await rows_read(connection, plan, arguments) <= 2
        await connection.execute("ANALYZE")


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_the_kind_of_open_positions_is_read_from_their_own_entries(
    connection: Connection, mode: str
) -> None:
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute("ANALYZE")
    statement = "alarms.read_other_kind"
    plan = await prepare(connection, statement)
    await connection.execute(_TRADES, ENDED // 10, BATCH)
    arguments = (await make_arguments(connection))[statement]
    on_paper = arguments.replace("there", "paper")
    for _ in ("with statistics of empty tables", "with their own"):
        for given in (arguments, on_paper):
            assert await rows_read(connection, plan, given) <= 2 * BATCH
        await connection.execute("VACUUM ANALYZE")


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_the_positions_are_not_read_for_each_exit_that_waits(connection: Connection, mode: str) -> None:
    """Each ticker is open at two destinations, and its exit waits at one and has failed at the other."""
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute(_EXITS_AT_TWO, WAITING // 5)
    await connection.execute("VACUUM ANALYZE")
    plan = await prepare(connection, "ops.at_risk")
    arguments = (await make_arguments(connection))["ops.at_risk"]
    assert await rows_read(connection, plan, arguments) <= MOST


@pytest.mark.parametrize("mode", ["force_generic_plan", "force_custom_plan"])
async def test_recording_a_delivery_reads_no_position_of_another_ticker(
    connection: Connection, mode: str
) -> None:
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute("ANALYZE")
    plan = await prepare(connection, "orders.record_delivered")
    await connection.execute(_WAITING, BATCH, "forwarding", "F", TICKERS)
    await connection.execute(_ATTEMPTS)
    await connection.execute(_ORDERS, timeout=FILL_SECONDS)
    await connection.execute(_POSITIONS, 4 * WAITING)
    for _ in ("with statistics of empty tables", "with their own"):
        successes = await connection.fetch(
            """SELECT a.id AS attempt, s.id AS signal, 'default' AS destination,
                      false AS has_ended, true AS is_open,
                      true AS is_confirmed, 1 AS buys, p.id AS position, p.confirmed AS was_confirmed,
                      p.quantity AS held
               FROM attempts a
               JOIN signals s ON s.id = a.signal_id
               JOIN positions p ON p.ticker = s.ticker"""
        )
        assert await rows_read(connection, plan, f"{as_json(successes)}, 'delivered'") <= BATCH * BATCH
        await connection.execute("ANALYZE")


@pytest.mark.parametrize("gap_seconds", [0, 10])
async def test_a_claim_is_not_planned_for_each_run(database_url: str, gap_seconds: int) -> None:
    """PostgreSQL plans each run anew where an argument omits a part, as 0 seconds between orders do."""
    pool = await open_pool(database_url, 1, settings=KEPT_PLANS)
    async with pool, pool.acquire() as connection:
        await connection.execute(_WAITING, WAITING, "approved", "A", TICKERS)
        await connection.execute(_ORDERS, timeout=FILL_SECONDS)
        await connection.execute("VACUUM ANALYZE")
        await connection.execute(f"PREPARE due AS {load('app.orders')['find_due']}")
        for _ in range(8):
            await rows_read(connection, "due", f"1, 'there', true, false, 'default', {gap_seconds}")
        query = "SELECT custom_plans FROM pg_prepared_statements WHERE name = 'due'"
        assert await connection.fetchval(query) == 0


def test_every_statement_on_unfinished_signals_and_orders_is_among_them() -> None:
    domains = (
        *("admin", "alarms", "decision", "intake", "ops", "orders", "orders/clock", "orders/dead_letters"),
        *("orders/destinations", "orders/endings", "positions", "screener", "transfer"),
    )
    found = {
        f"{domain}.{name}"
        for domain in domains
        for name, statement in statements_of(domain).items()
        if re.search("unfinished_signals|position_states|(FROM|JOIN|UPDATE) orders", statement)
    }
    assert found <= STATEMENTS.keys()


def statements_of(domain: str) -> dict[str, str]:
    """Return the statements of a package, or of another file of it: `orders/clock`."""
    package, _, file = domain.partition("/")
    return load(f"app.{package}", file or "queries")


async def prepare(connection: Connection, name: str) -> str:
    """Let PostgreSQL make its plan now, which it keeps where the mode is generic."""
    domain, _, statement = name.partition(".")
    plan = f"{domain}_{statement}".replace("/", "_")
    await connection.execute(f"PREPARE {plan} AS {statements_of(domain)[statement].rstrip(';')}")
    nulls = ", ".join("NULL" for _ in STATEMENTS[name].split(", "))
    await connection.execute(f"EXPLAIN EXECUTE {plan} {f'({nulls})' if STATEMENTS[name] else ''}")
    return plan


async def read_by_all(
    connection: Connection, plans: Mapping[str, str], arguments: Mapping[str, str]
) -> dict[str, int]:
    """Return the rows that the busiest step of each statement read."""
    claim = "decision.claim_signals"
    apart = [(claim, arguments[claim].replace("'all'", f"'{each}'")) for each in APART]
    given = [*arguments.items(), *apart]
    return {f"{name} {each}": await rows_read(connection, plans[name], each) for name, each in given}


async def make_arguments(connection: Connection) -> dict[str, str]:
    """Return arguments for the statements: ids of the queue's front, and as many of everything else."""

    async def array(query: str) -> str:
        values = [str(value) for (value,) in await connection.fetch(query, BATCH)]
        return "'{" + ",".join(values) + "}'"

    verdicts = await connection.fetch(
        """SELECT id, signal_id AS signal, attempts, 'open' AS intent, 'x' AS reason FROM orders
           WHERE status = 'pending' ORDER BY seq LIMIT $1""",
        BATCH,
    )
    successes = await connection.fetch(
        """SELECT id AS attempt, signal_id AS signal, 'default' AS destination,
                      false AS has_ended, true AS is_open,
                  true AS is_confirmed, 1 AS buys
           FROM attempts ORDER BY id LIMIT $1""",
        BATCH,
    )
    decisions = await connection.fetch(
        """SELECT id, 'approved' AS status, 'x' AS reason, jsonb_build_object() AS detail, 'open' AS intent,
                  'default' AS destination
           FROM signals WHERE status = 'received' ORDER BY seq LIMIT $1""",
        BATCH,
    )
    newest = "SELECT id FROM unfinished_signals ORDER BY seq DESC LIMIT 1"
    known = {
        "newest": f"'{await connection.fetchval(newest) or uuid4()}'",
        "decisions": as_json(decisions),
        "verdicts": as_json(verdicts),
        "successes": as_json(successes),
        "batch": str(BATCH),
        "undecided": await array("SELECT id FROM signals WHERE status = 'received' ORDER BY seq LIMIT $1"),
        "ordered": await array("SELECT signal_id FROM orders ORDER BY seq DESC LIMIT $1"),
        "failed": await array(
            "SELECT id FROM signals WHERE status IN ('failed', 'expired') ORDER BY seq DESC LIMIT $1"
        ),
        "attempt": str(await connection.fetchval("SELECT max(id) FROM attempts") or 0),
        "attempts": await array("SELECT id FROM attempts ORDER BY id LIMIT $1"),
        "tickers": await array("SELECT 'R' || n FROM generate_series(1, $1::int) AS n"),
        "reasons": f"'{json.dumps(templates(*REASONS))}'",
    }
    return {name: arguments.format(**known) for name, arguments in STATEMENTS.items()}


def as_json(rows: Iterable[Record]) -> str:
    return f"'{json.dumps([dict(row) for row in rows], default=str)}'"


async def rows_read(connection: Connection, plan: str, arguments: str) -> int:
    """Run a statement, roll it back, and return how many rows its busiest step read."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {plan} {f'({arguments})' if arguments else ''}"
        )
    finally:
        await transaction.rollback()
    return busiest(json.loads(explained)[0]["Plan"])


def busiest(step: Mapping[str, Any]) -> int:
    """Return the most rows that a plan's step read or discarded, over all its loops."""
    thrown_away = sum(rows for what, rows in step.items() if what.startswith("Rows Removed by"))
    own: int = (step["Actual Rows"] + thrown_away) * step["Actual Loops"]
    return max([own, *(busiest(below) for below in step.get("Plans", []))])
