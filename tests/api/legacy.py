"""The replaced system: what tests of moving over need of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg


async def tables_with(database: asyncpg.Connection[asyncpg.Record], text: str) -> list[str]:
    """The tables of a database that have the text anywhere, also within bytes."""
    rows = await database.fetch(
        "SELECT relname, query_to_xml(format('SELECT t::text FROM %I t', relname), true, false, '')::text "
        "FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return [table for table, content in rows if text in content or text.encode().hex() in content]
