"""List what an import of the replaced system would bring, and what cannot come. Keeps nothing."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.signal_processor.stack.plugins.module_utils.entry import Module
from ansible_collections.signal_processor.stack.plugins.module_utils.legacy_dumps import (
    DATABASE,
    Reader,
    SourceError,
    check_dump,
    is_here,
    reader,
)
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import leftovers, runs
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import last_line

DOCUMENTATION = """
module: legacy_preview
short_description: What would come from the replaced system, by the code that imports it
description:
  - Returns C(lines), and C(error), empty where all could be read.
  - The database is loaded into a throw-away server. It is compared with the database here if the app runs,
    else with an empty one. Without an image of the app the rows of each table are counted, and the open
    positions are named. Without an image of our database that of the replaced system serves.
options:
  source: {type: dict, required: true, description: What M(legacy_source) found.}
  image: {type: str, required: true, description: The database's image.}
  app_image: {type: str, required: true, description: The application's image.}
  app_container: {type: str, required: true, description: The application's container.}
  app_runs: {type: bool, required: true, description: Whether it runs.}
  network: {type: str, required: true, description: The network of the stack.}
"""

EMPTY = "preview"  # a database with our schema and without a row
COUNTS = """
SELECT coalesce(json_object_agg(relname, (xpath('/row/n/text()', query_to_xml(
    format('SELECT count(*) AS n FROM public.%I', relname), false, true, '')))[1]::text::bigint), '{}')
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
# Whatever columns that table has: an open position that is not named would be missed at the broker.
OPEN = """
SELECT coalesce(string_agg(DISTINCT to_jsonb(p) ->> 'ticker', ', '), 'none') FROM public.positions AS p
WHERE lower(to_jsonb(p) ->> 'status') IS DISTINCT FROM 'closed'
"""
COMMAND = ["python", "-m", "app", "import-legacy"]


def fill(server: Reader, source: dict[str, Any]) -> None:
    """Load the database into the server, unless it runs on a copy of the volume. Raises SourceError."""
    if source["kind"] == "dump":
        with Path(source["path"]).open("rb") as file:
            if not source["checked"]:
                tool = ["exec", "--interactive", "--user=postgres", server.name, "pg_restore"]
                check_dump(file, tool)
            server.load(file, source["format"])
    elif source["is_running"]:
        server.sql(f"CREATE DATABASE {DATABASE} TEMPLATE template0", "postgres")
        dump = ["docker", "exec", source["container"], "pg_dump", "-U", "postgres", "-d", DATABASE]
        dump += ["--format=custom", "--lock-wait-timeout=30s"]
        with subprocess.Popen(dump, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as dumping:
            load = ["docker", "exec", "--interactive", "--user=postgres", server.name, "pg_restore"]
            load += [*server.options(), "--no-owner", "--no-privileges", "--exit-on-error"]
            loaded = subprocess.run(load, stdin=dumping.stdout, capture_output=True, check=False)
            _, complaint = dumping.communicate()
        for done, stderr in ((dumping.returncode, complaint), (loaded.returncode, loaded.stderr)):
            if done != 0:
                raise SourceError(last_line(stderr, done))


def asked(argv: list[str], variables: dict[str, str], screener: bytes) -> list[str]:
    """Run the application's command; return its report. Raises SourceError with what it says instead."""
    done = subprocess.run(
        ["docker", *argv],
        input=screener,
        env={**os.environ, **variables},
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise SourceError(last_line(done.stderr, done.returncode))
    return done.stdout.decode(errors="replace").splitlines()


def compared(server: Reader, params: dict[str, Any], screener: bytes) -> list[str]:
    """Return the report of the application that runs. Raises SourceError."""
    password = secrets.token_urlsafe(24)
    setting = f"ALTER USER postgres PASSWORD '{password}'".encode()
    psql = ["docker", "exec", "--interactive", "--user=postgres", server.name, "psql", *server.options()]
    subprocess.run([*psql, "-q"], input=setting, capture_output=True, check=True)
    variables = {
        "LEGACY_DATABASE_URL": f"postgresql://postgres:{password}@{server.name}:5432/{DATABASE}",
        **({"LEGACY_FINVIZ_FILE": "-"} if screener else {}),
    }
    names = [part for name in variables for part in ("--env", name)]
    run = ["exec", "--interactive", *names, params["app_container"]]
    return asked([*run, *COMMAND, "--check"], variables, screener)


def alone(server: Reader, params: dict[str, Any], screener: bytes) -> list[str]:
    """Return the report for an empty database of ours on the same server. Raises SourceError."""
    server.sql(f"CREATE DATABASE {EMPTY} TEMPLATE template0", "postgres")
    address = "postgresql://postgres@127.0.0.1:5432"
    variables = {
        "DATABASE_URL": f"{address}/{EMPTY}",
        "LEGACY_DATABASE_URL": f"{address}/{DATABASE}",
        **({"LEGACY_FINVIZ_FILE": "-"} if screener else {}),
    }
    names = [part for name in variables for part in ("--env", name)]
    label = f"--label={runs.LABEL}={os.environ.get(leftovers.MARK, '')}"
    run = [
        "run",
        "--rm",
        "--interactive",
        "--pull=never",
        label,
        f"--network=container:{server.name}",
        *names,
    ]
    run.append(params["app_image"])
    asked([*run, *COMMAND[:3], "migrate"], variables, b"")
    return asked([*run, *COMMAND, "--check"], variables, screener)


def counted(server: Reader) -> list[str]:
    """Return the rows of each table and the open positions. Raises SourceError."""
    counts = json.loads(server.sql(COUNTS))
    lines = [f"{table}: {rows} rows" for table, rows in sorted(counts.items())]
    if "positions" in counts:
        lines.append(f"open or closing there: {server.sql(OPEN).strip()}")
    lines.append(
        "this machine has no image of the application, so what cannot come is not known yet: "
        "docs/moving-over.md says how to build one on this machine"
    )
    return lines


def knows_command(params: dict[str, Any]) -> bool:
    """Whether there is an application that can import; a version of before cannot."""
    label = f"--label={runs.LABEL}={os.environ.get(leftovers.MARK, '')}"
    run = ["run", "--rm", "--pull=never", label, "--network=none", params["app_image"]]
    prefix = ["exec", params["app_container"]] if params["app_runs"] else run
    argv = ["docker", *prefix, *COMMAND, "--help"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def answer(params: dict[str, Any]) -> dict[str, Any]:
    """Load, compare and report; that it cannot be done is an answer, too."""
    source = params["source"]
    try:
        screener = Path(source["screener"]).read_bytes() if source.get("screener") else b""
        volume = "" if source["kind"] == "dump" or source["is_running"] else source["volume"]
        network = params["network"] if params["app_runs"] else "none"
        theirs = source.get("image", "")
        image = theirs if volume and theirs else params["image"]
        if not is_here(image):
            image = theirs
        if not image:
            line = (
                "this machine has no image of PostgreSQL to read the pg_dump with: check it where this "
                "system, or the replaced one, is installed"
            )
            return {"changed": False, "lines": [line], "error": ""}
        with reader(image, volume=volume, network=network) as server:
            fill(server, source)
            if knows_command(params):
                report = compared if params["app_runs"] else alone
                lines = report(server, params, screener)
            else:
                lines = counted(server)
    except (SourceError, OSError) as error:
        return {"changed": False, "lines": [], "error": str(error)}
    return {"changed": False, "lines": lines, "error": ""}


MODULE = Module(
    answer,
    {
        "source": {"type": "dict", "required": True},
        "image": {"type": "str", "required": True},
        "app_image": {"type": "str", "required": True},
        "app_container": {"type": "str", "required": True},
        "app_runs": {"type": "bool", "required": True},
        "network": {"type": "str", "required": True},
    },
    looks=True,
)


if __name__ == "__main__":
    MODULE.run()
