"""A clock of the test's own database that can be set, as NTP, a resumed machine or a restore do.

Functions that return the time are in a schema before PostgreSQL's own; the server's clock keeps its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

_INSTALL = """
    CREATE SCHEMA stepping;
    CREATE TABLE stepping.step (seconds float8 NOT NULL);
    INSERT INTO stepping.step VALUES (0);
    CREATE FUNCTION stepping.off() RETURNS interval LANGUAGE sql STABLE AS
        $$ SELECT make_interval(secs => seconds) FROM stepping.step $$;
    CREATE FUNCTION stepping.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        $$ SELECT pg_catalog.clock_timestamp() + stepping.off() $$;
    CREATE FUNCTION stepping.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS
        $$ SELECT pg_catalog.statement_timestamp() + stepping.off() $$;
    CREATE FUNCTION stepping.now() RETURNS timestamptz LANGUAGE sql STABLE AS
        $$ SELECT pg_catalog.now() + stepping.off() $$;
    ALTER TABLE signals ALTER received_at SET DEFAULT stepping.clock_timestamp(),
        ALTER status_at SET DEFAULT stepping.clock_timestamp();
    ALTER TABLE signal_events ALTER at SET DEFAULT stepping.clock_timestamp();
    ALTER TABLE attempts ALTER started_at SET DEFAULT stepping.clock_timestamp();
    ALTER TABLE positions ALTER opened_at SET DEFAULT stepping.clock_timestamp();
    ALTER TABLE top_n_lists ALTER fetched_at SET DEFAULT stepping.clock_timestamp();
    ALTER TABLE screener_refreshes ALTER at SET DEFAULT stepping.clock_timestamp();
    ALTER TABLE alarms ALTER began_at SET DEFAULT stepping.clock_timestamp(),
        ALTER seen_at SET DEFAULT stepping.clock_timestamp();
    ALTER TABLE notifications ALTER created_at SET DEFAULT stepping.clock_timestamp(),
        ALTER due_at SET DEFAULT stepping.clock_timestamp();
"""


async def install(database: asyncpg.Pool[asyncpg.Record], ahead: float) -> None:
    """Set the clock `ahead` seconds ahead, for every connection that is opened from now on."""
    async with database.acquire() as connection:
        await connection.execute(_INSTALL)
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f'ALTER DATABASE "{name}" SET search_path = stepping, pg_catalog, public')
    await set_ahead(database, ahead)


async def set_ahead(database: asyncpg.Pool[asyncpg.Record], seconds: float) -> None:
    """Step the clock to `seconds` ahead; 0 corrects it."""
    await database.execute("UPDATE stepping.step SET seconds = $1", float(seconds))
