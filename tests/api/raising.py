"""Errors that PostgreSQL raises on demand in a test's own database, with a secret in each of their texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

SECRET = "S3CRET"
# A row's content, the server, the schema, a transaction, an operator, an own code;
# a value, a server that only reads, the rights, a defect.
STATES = ("23514", "53100", "42P01", "40001", "57014", "P0001", "22001", "25006", "42501", "XX000")

_INSTALL = """
    CREATE TABLE raising (place text PRIMARY KEY, state text NOT NULL);
    CREATE FUNCTION raise_S3CRET() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE found text := (SELECT state FROM public.raising WHERE place = TG_ARGV[0]);
    BEGIN
        IF found IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = found, MESSAGE = 'message S3CRET',
                DETAIL = 'detail S3CRET', HINT = 'hint S3CRET', SCHEMA = 'schema S3CRET',
                TABLE = 'table S3CRET', COLUMN = 'column S3CRET',
                CONSTRAINT = 'constraint S3CRET', DATATYPE = 'type S3CRET';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER raise_store BEFORE INSERT ON signals FOR EACH ROW
        EXECUTE FUNCTION raise_S3CRET('store');
    CREATE CONSTRAINT TRIGGER raise_commit AFTER INSERT ON signals DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION raise_S3CRET('commit');
    CREATE TRIGGER raise_decision BEFORE UPDATE ON signals FOR EACH ROW
        WHEN (old.status = 'received') EXECUTE FUNCTION raise_S3CRET('decision');
    CREATE TRIGGER raise_claim BEFORE INSERT ON attempts FOR EACH ROW
        EXECUTE FUNCTION raise_S3CRET('claim');
    CREATE TRIGGER raise_outcome BEFORE UPDATE ON attempts FOR EACH ROW
        EXECUTE FUNCTION raise_S3CRET('outcome');
    CREATE TRIGGER raise_paper BEFORE INSERT ON paper_deliveries FOR EACH ROW
        EXECUTE FUNCTION raise_S3CRET('paper');
    CREATE TRIGGER raise_configuration BEFORE INSERT OR UPDATE ON configuration FOR EACH ROW
        EXECUTE FUNCTION raise_S3CRET('configuration');
    CREATE TRIGGER raise_list BEFORE INSERT OR UPDATE ON top_n_lists FOR EACH ROW
        EXECUTE FUNCTION raise_S3CRET('list');
    CREATE TRIGGER raise_refused BEFORE INSERT ON refused_posts FOR EACH ROW
        EXECUTE FUNCTION raise_S3CRET('refused');
"""


async def install(database: asyncpg.Pool[asyncpg.Record]) -> None:
    """Make the triggers; each raises while its place has a state, see `start`."""
    await database.execute(_INSTALL)


async def start(database: asyncpg.Pool[asyncpg.Record], place: str, state: str) -> None:
    """Raise errors of this SQLSTATE at this place from now on."""
    await database.execute(
        "INSERT INTO raising VALUES ($1, $2) ON CONFLICT (place) DO UPDATE SET state = excluded.state",
        place,
        state,
    )


async def stop(database: asyncpg.Pool[asyncpg.Record], place: str) -> None:
    """Stop raising at this place."""
    await database.execute("DELETE FROM raising WHERE place = $1", place)
