"""Commits that cannot be deployed, or not for long: files for `Upstream.offering`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hosts.upstream import Upstream

STARTED = "data/started"  # in the checkout: a version that starts once was started

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
    """A Dockerfile whose last step fails."""
    return {"Dockerfile": upstream.read("Dockerfile") + "RUN echo this build breaks here && exit 9\n"}


def broken_migration(upstream: Upstream) -> dict[str, str]:
    """A migration of a table that is not there."""
    return migration(upstream, "ALTER TABLE no_such_table ADD COLUMN note text;")


def migration(upstream: Upstream, statement: str, name: str = _MIGRATION) -> dict[str, str]:
    """One more migration, after all that there are."""
    (last,) = upstream.names("app/db/migrations/*.sql")[-1:]
    depends = last.rpartition("/")[2].removesuffix(".sql")
    head = f"-- for a test\n-- depends: {depends}\n\n-- migrate: apply\n\n"
    return {name: f"{head}{statement}\n\n-- migrate: rollback\n"}


def starts_once(upstream: Upstream, where: str = "True") -> dict[str, str]:
    """An application that starts in the rehearsal and never again, where a Python expression is true."""
    return {_MAIN: upstream.read(_MAIN).replace(_ENTRY, _ONCE.format(where=where) + _ENTRY)}
