"""Load statements by name from each package's `queries.sql`: every one has its own line `-- name: …`.

`{signal_filter}` in a statement is the condition in `signal_filter.sql` of this package. Another name in
braces that ends in `_filter`, such as `{trade_filter}`, is one in such a file of the statement's package.
"""

import re
from functools import cache
from importlib.resources import files

import asyncpg

from app.db.pool import Connection, Pool

_CONDITION = re.compile(r"\{(\w+_filter)\}")
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def load(package: str, name: str = "queries") -> dict[str, str]:
    """Read `<name>.sql` of a package, as `app.orders`, and return its statements by name.

    Raises:
        ValueError: a name is used twice, or text precedes the first name.
    """

    def condition(found: re.Match[str]) -> str:
        place = "app.db" if found[1] == "signal_filter" else package
        return files(place).joinpath(f"{found[1]}.sql").read_text("utf-8").strip()

    text = _CONDITION.sub(condition, files(package).joinpath(f"{name}.sql").read_text("utf-8"))
    head, *rest = _NAME.split(text)
    names, bodies = rest[::2], rest[1::2]
    if [line for line in head.splitlines() if line and not line.startswith("--")] or len(set(names)) != len(
        names
    ):
        raise ValueError(
            f"{package}, {name}.sql: every statement needs its own '-- name:' line, and names must be unique"
        )
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}


async def fetch_one(
    database: Connection | Pool, statement: str, *arguments: object, timeout_seconds: float | None = None
) -> asyncpg.Record:
    """Return the row of a statement that always has exactly one, as an aggregate without GROUP BY.

    Raises:
        RuntimeError: there is no row.
    """
    row: asyncpg.Record | None = await database.fetchrow(statement, *arguments, timeout=timeout_seconds)
    if row is None:
        raise RuntimeError("the database returned no row for a statement that always has one")
    return row


def affected_rows(command_tag: str) -> int:
    """Return the number of rows in what PostgreSQL answers to a change, as 500 in `DELETE 500`."""
    return int(command_tag.rpartition(" ")[2])
