"""A database of a run: filled, queried, and its statements counted."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from app.db.pool import Connection

T = TypeVar("T")

# An id as the application makes them (`app.runtime.ids`), of the moment `at`.
_ID = """(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
          || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid"""

# The signals of a stack after months, with their events and attempts: ended in every way, a third delivered.
# They are spread over 2,000 tickers and 29 days, as retention removes what is older than 30.
_HISTORY = f"""
INSERT INTO signals (id, status, type, ticker, received_at, status_at, expires_at, reason, sender_signal_id,
                     price, attempts, body)
SELECT {_ID},
       CASE WHEN n % 3 = 0 THEN 'forwarded' WHEN n % 50 = 1 THEN 'failed' WHEN n % 50 = 2 THEN 'expired'
            ELSE 'rejected' END,
       CASE WHEN n % 4 = 3 THEN 'sell' ELSE 'buy' END,
       'H' || n % 2000, at, at + interval '1 second', at + interval '5 minutes', 'history', 'Long', 100.25,
       (n % 3 = 0)::int,
       convert_to(format('{{"ticker": "H%s", "action": "buy", "price": 100.25, "interval": "5", "n": %s}}',
                         n % 2000, n), 'UTF8')
FROM generate_series(1, $1::int) AS n,
     LATERAL (SELECT now() - interval '29 days' * (1 - n::float8 / $1)) AS day (at)
ORDER BY n
"""  # noqa: S608  # ours
_HISTORY_EVENTS = """
INSERT INTO signal_events (signal_id, at, status, reason)
SELECT id, received_at + step * interval '0.1 second', CASE step WHEN 0 THEN 'received' ELSE status END,
       'history'
FROM signals, generate_series(0, 2) AS step
ORDER BY seq, step
"""
_HISTORY_ATTEMPTS = """
INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id, started_at, ended_at,
                      outcome, http_status)
SELECT id, 1, 1, 'history', id::text, gen_random_uuid(), received_at, status_at, 'delivered', 200
FROM signals WHERE attempts > 0
ORDER BY seq
"""

_APPROVED = f"""
WITH stored AS (
    INSERT INTO signals (id, status, type, ticker, expires_at, reason, price, body)
    SELECT {_ID}, 'approved', 'buy', 'T' || n % $2::int, now() + interval '1 hour', '', 100.25,
           convert_to(
               format('{{"ticker": "T%s", "action": "buy", "price": 100.25, "interval": "5", "n": %s}}',
                      n % $2, n),
               'UTF8')
    FROM generate_series(1, $1::int) AS n, now() AS at
    ORDER BY n
    RETURNING id
)
INSERT INTO signal_events (signal_id, status, reason)
SELECT id, status, 'bench' FROM stored, (VALUES ('received'), ('approved')) AS event (status)
"""  # noqa: S608  # ours

# To be executed one after the other: the second sees the first one's change.
_SHARED = "UPDATE orders SET is_shared = true WHERE ended_at IS NULL"
_SHARED_THERE = """
INSERT INTO orders (signal_id, destination, round, seq, type, ticker, intent, expires_at, is_shared)
SELECT signal_id, $1, round, seq, type, ticker, intent, expires_at, true FROM orders WHERE ended_at IS NULL
ORDER BY seq
"""

# As the application's sessions: a trigger keeps its plan, and one for the empty table would read all of it
# for each row.
_SETTINGS = {"application_name": "bench", "pg_stat_statements.track": "none", "enable_seqscan": "off"}

_LOCK_TRIES = 100
# The schema of a base may lack some of these.
_EMPTIED = """
SELECT string_agg(table_name, ', ') FROM information_schema.tables
WHERE table_schema = 'public'
  AND table_name IN ('signals', 'signal_events', 'intake_keys', 'attempts', 'orders')
"""

# Every statement that the application sent, transaction control included; ours is not counted.
_STATEMENTS = """
SELECT s.query, s.calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND s.toplevel AND s.query NOT LIKE '%pg_stat_statements%'
ORDER BY s.calls DESC
"""


@dataclass(frozen=True)
class Database:
    """One database by its URL (`postgresql://…`)."""

    url: str

    def execute(self, statement: str, *values: object) -> None:
        """Run one statement, or several without values."""
        self._run(lambda connection: connection.execute(statement, *values, timeout=600))

    def fetch(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        """Run one statement and return its rows."""
        rows: Sequence[asyncpg.Record] = self._run(lambda connection: connection.fetch(statement, *values))
        return rows

    def value(self, statement: str, *values: object) -> Any:  # noqa: ANN401  # whatever the statement selects
        """Run one statement and return the first column of its first row."""
        return self.fetch(statement, *values)[0][0]

    def store_history(self, signals: int) -> None:
        """Store signals that have ended, with events and attempts, and let PostgreSQL know its tables."""
        self.execute(_HISTORY, signals)
        self.execute(_HISTORY_EVENTS)
        self.execute(_HISTORY_ATTEMPTS)
        self.settle()

    def store_approved(self, signals: int, tickers: int) -> None:
        """Store approved buys that wait for delivery, over so many tickers."""
        self.execute(_APPROVED, signals, tickers)
        self.settle()

    def share_orders(self, destination: str) -> None:
        """Let each signal that waits for delivery go to this destination, too."""
        self.execute(_SHARED)
        self.execute(_SHARED_THERE, destination)
        self.settle()

    def empty(self) -> None:
        """Delete all signals while an application runs.

        Its workers take the same locks in another order, so a long wait for one could deadlock.
        """
        tables = self.value(_EMPTIED)
        for _ in range(_LOCK_TRIES):
            with contextlib.suppress(asyncpg.LockNotAvailableError):
                self.execute(f"SET lock_timeout = '100ms'; TRUNCATE {tables}")
                self.execute("CHECKPOINT")
                return
        raise RuntimeError(f"the tables were in use {_LOCK_TRIES} times in a row")

    def end_waiting(self) -> None:
        """Expire what waits for a decision or a delivery, so that the next take begins with empty queues."""
        self.execute(
            "UPDATE signals SET status = 'rejected', reason = 'bench'"
            " WHERE status IN ('received', 'approved', 'forwarding')"
        )
        self.settle()

    def settle(self) -> None:
        """Vacuum, analyze and checkpoint, which would otherwise happen during a take."""
        self.execute("VACUUM ANALYZE")
        self.execute("CHECKPOINT")

    def count_statements(self) -> None:
        """Count the statements of connections that are made from now on."""
        self.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        name = self.value("SELECT current_database()")
        self.execute(f'ALTER DATABASE "{name}" SET pg_stat_statements.track = top')

    def forget_statements(self) -> None:
        """Restart the count of statements."""
        self.execute(
            "SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()"
        )

    def statements(self) -> dict[str, int]:
        """Return how often each statement was sent since `forget_statements`, most frequent first."""
        return {row["query"]: row["calls"] for row in self.fetch(_STATEMENTS)}

    def _run(self, work: Callable[[Connection], Coroutine[None, None, T]]) -> T:
        async def run() -> T:
            connection = await asyncpg.connect(self.url, server_settings=_SETTINGS)
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(run())
