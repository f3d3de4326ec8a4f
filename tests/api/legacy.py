"""The replaced system: its database with a few thousand rows, and queries on it and on our database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.db.queries import load

if TYPE_CHECKING:
    import asyncpg

TOKEN = "old-admin-token-4711"
MISTYPED = 'old "admin" token\\4712'
SIGNALS = 3000

_SQL = load("tests.api", "legacy")
SCHEMA = _SQL["schema"]


async def fill(source: asyncpg.Connection[asyncpg.Record], signals: int = SIGNALS) -> None:
    """Make the tables of the replaced system, with rows."""
    await source.execute(SCHEMA)
    await source.execute(_SQL["signals"], signals, TOKEN)
    await source.execute(_SQL["events"], TOKEN)
    await source.execute(_SQL["positions"])
    await source.execute(_SQL["strategies"])
    await source.execute(_SQL["actions"], TOKEN, MISTYPED)


async def contents(database: asyncpg.Connection[asyncpg.Record], *left_out: str) -> dict[str, str]:
    """The content of every table of a database, as text."""
    rows = await database.fetch(
        "SELECT relname, query_to_xml("
        "format('SELECT t::text FROM %I t ORDER BY 1', relname), true, false, '')::text "
        "FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return {table: content for table, content in rows if table not in left_out}


async def tables_with(database: asyncpg.Connection[asyncpg.Record], text: str) -> list[str]:
    """The tables of a database that have the text anywhere, also within bytes."""
    found = await contents(database)
    spellings = {text, text.replace("\\", "\\\\").replace('"', '\\"')}
    return [
        table
        for table, content in found.items()
        if any(each in content or each.encode().hex() in content for each in spellings)
    ]
