"""A stack of the replaced system on a throw-away host: its shape, its schema, and rows that are odd."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from app.db.queries import load
from tests.api.legacy import MISTYPED, SIGNALS, TOKEN
from tests.hosts.stack import APP, DATABASE

if TYPE_CHECKING:
    from tests.hosts.host import Host

SETTINGS = """\
FINVIZ_UPDATE_TOKEN=old-update-token
TOP_N=21
FINVIZ_PASSWORD=old-finviz-password
DATABASE_URL=postgresql://postgres:old@postgres/trading_signals
"""
# The base images of ours are at hand on every host of the tests.
COMPOSE = f"""\
services:
  postgres:
    image: trading-signal-processor/base-postgres:current
    container_name: {DATABASE}
    restart: unless-stopped
    environment: {{POSTGRES_PASSWORD: old, POSTGRES_DB: trading_signals}}
    ports: ["127.0.0.1:5432:5432"]
    volumes: ["postgres_data:/var/lib/postgresql/data"]
  trading-signal-processor:
    image: trading-signal-processor/base-python:current
    container_name: {APP}
    restart: unless-stopped
    init: true
    command: [python3, -m, http.server, "80"]
    ports: ["80:80"]
volumes:
  postgres_data: {{}}
"""
_ROWS = load("tests.api", "legacy")
_ARGUMENTS: dict[str, tuple[object, ...]] = {
    "schema": (),
    "signals": (SIGNALS, TOKEN),
    "events": (TOKEN,),
    "positions": (),
    "strategies": (),
    "actions": (TOKEN, MISTYPED),
}
_CONTENTS = """
SELECT relname, md5(query_to_xml(
    format('SELECT t::text FROM %I t ORDER BY 1', relname), true, false, '')::text)
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1
"""


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _statement(name: str) -> str:
    """Return a statement of the file with its arguments in it."""
    values = _ARGUMENTS[name]
    return re.sub(r"\$(\d)", lambda found: _literal(values[int(found[1]) - 1]), _ROWS[name]) + ";"


class ReplacedStack:
    """The replaced system in a folder of a host."""

    def __init__(self, host: Host, folder: str) -> None:
        """Make its folder, and start it with rows."""
        self.host, self.folder = host, folder
        self.volume = f"{folder.rpartition('/')[2]}_postgres_data"
        host.write(f"{folder}/docker-compose.yml", COMPOSE)
        host.write(f"{folder}/.env", SETTINGS)
        self.up()
        self.sql("\n".join(_statement(name) for name in _ARGUMENTS))

    def up(self) -> None:
        """Start it as its operator would, and wait for its database."""
        self.host.run("docker compose up --detach", folder=self.folder).require()
        ready = f"docker exec {DATABASE} pg_isready -h 127.0.0.1 -U postgres -d trading_signals"
        self.host.run(f"timeout 60 sh -c 'until {ready}; do sleep 0.2; done'").require()

    def down(self) -> None:
        """Stop it as its operator would; the volume stays."""
        self.host.run("docker compose down", folder=self.folder).require()

    def sql(self, statements: str) -> str:
        """Run statements in its database."""
        psql = (
            f"docker exec -i {DATABASE} psql -U postgres -d trading_signals -X -qAt -v ON_ERROR_STOP=1 -f -"
        )
        return self.host.run(psql, stdin=statements.encode(), timeout=120).require().stdout

    def contents(self) -> str:
        """Return what every table has."""
        return self.sql(_CONTENTS)

    def files(self) -> str:
        """Return every file of its volume, with its time of change and its content."""
        folder = f"$(docker volume inspect --format '{{{{.Mountpoint}}}}' {self.volume})"
        listing = "find . -printf '%p %T@ %C@ %s %m %U\\n' | sort; find . -type f | sort | xargs md5sum"
        return self.host.run(f"cd {folder} && {{ {listing}; }}").require().stdout
