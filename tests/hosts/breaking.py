"""Commits that cannot be deployed, or not for long: files for `Upstream.offering`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hosts.upstream import Upstream

STARTED = "data/started"  # in the checkout: exists after the first start of a version that starts once

_MAIN = "app/__main__.py"
_ENTRY = 'if __name__ == "__main__":\n'
_ONCE = """\
if "serve" in sys.argv:
    from pathlib import Path
    if {where}:
        Path("/srv/data/started").touch(exist_ok=False)

"""
_MIGRATION = "app/db/migrations/20991231_01_fAu1T-broken.sql"


def broken_build(upstream: Upstream) -> dict[str, str]:
    """Return a Dockerfile whose last step fails."""
    return {"Dockerfile": upstream.read("Dockerfile") + "RUN echo this build breaks here && exit 9\n"}


def broken_migration(upstream: Upstream) -> dict[str, str]:
    """Return a migration of a table that does not exist."""
    return migration(upstream, "ALTER TABLE no_such_table ADD COLUMN note text;")


def migration(upstream: Upstream, statement: str, name: str = _MIGRATION) -> dict[str, str]:
    """Return one more migration, after all existing ones."""
    (last,) = upstream.names("app/db/migrations/*.sql")[-1:]
    depends = last.rpartition("/")[2].removesuffix(".sql")
    head = f"-- for a test\n-- depends: {depends}\n\n-- migrate: apply\n\n"
    return {name: f"{head}{statement}\n\n-- migrate: rollback\n"}


def starts_once(upstream: Upstream, where: str = "True") -> dict[str, str]:
    """Return an application that starts as stand-in and never again, where a Python expression is true."""
    return {_MAIN: upstream.read(_MAIN).replace(_ENTRY, _ONCE.format(where=where) + _ENTRY)}
