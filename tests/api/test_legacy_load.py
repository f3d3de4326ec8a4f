"""A dump of the replaced system in plain SQL, read into a second database of a real server."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.api.legacy import contents, fill
from tests.hosts.images import install_packages
from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hosts.postgres import TestServer

OWNED = b"ALTER TABLE public.signals OWNER TO nobody_here;\n"
NEWER = b"SET transaction_timeout = 0;\nCREATE TABLE"


@pytest.fixture
def second(
    database_server: TestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str]]:
    """Two empty databases on the server that a `docker exec NAME` of this test works on."""
    if shutil.which("psql") is None:
        install_packages("postgresql-client")
    program = tmp_path / "docker"
    program.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    program.chmod(0o755)
    names = [database_server.create(is_migrated=False) for _ in range(2)]
    address = urlsplit(database_server.url(names[0]))
    for variable, value in {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": address.hostname or "",
        "PGPORT": str(address.port or 5432),
        "PGUSER": address.username or "",
        "PGPASSWORD": address.password or "",
    }.items():
        monkeypatch.setenv(variable, value)
    yield names[0], names[1]
    for name in names:
        database_server.drop(name)


def restore(database: str, dump: bytes) -> None:
    """Read a dump into a database."""
    legacy: Any = load("module_utils.legacy_dumps")
    legacy.restore(["exec", "server"], ["-d", database], io.BytesIO(dump), "plain")


def dump_of(database: str, *how: str) -> bytes:
    """Return a dump of a database in plain SQL."""
    return subprocess.run(["pg_dump", *how, database], capture_output=True, check=True, timeout=60).stdout


async def test_a_dump_of_a_newer_server_with_owners_is_read_whole(
    database_server: TestServer, second: tuple[str, str]
) -> None:
    """Text that looks like a statement stays, in data and in quotes."""
    old, name = second
    source = await asyncpg.connect(database_server.url(old))
    await fill(source, 20)
    await source.execute(
        "UPDATE signal_events SET details = E'it\\'s\\nGRANT x TO y;\\n\\\\connect z' WHERE event_id = 1"
    )
    for how in ((), ("--inserts",)):
        restore(name, dump_of(old, *how).replace(b"CREATE TABLE", NEWER, 1) + OWNED)
        target = await asyncpg.connect(database_server.url(name))
        assert await contents(target) == await contents(source)
        await target.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await target.close()
    await source.close()


async def test_data_is_never_read_as_sql(database_server: TestServer, second: tuple[str, str]) -> None:
    """A table that cannot be made ends it, before the rows, which strangers have sent."""
    _, name = second
    dump = (
        b"CREATE TABLE public.signals (ticker no_such_type);\n"
        b"COPY public.signals (ticker) FROM stdin;\nA; CREATE TABLE public.mine (); --\n\\.\n"
    )
    with pytest.raises(load("module_utils.legacy_dumps").SourceError, match="no_such_type"):
        restore(name, dump + b"SELECT 1;\n" * 100_000)
    target = await asyncpg.connect(database_server.url(name))
    assert await contents(target) == {}
    await target.close()


@pytest.mark.parametrize("how", [("--create",), ("--create", "--clean")])
async def test_a_dump_that_leaves_its_database_is_refused(
    database_server: TestServer, second: tuple[str, str], how: tuple[str, ...]
) -> None:
    """It would drop, make and fill the database that it names, which is ours."""
    old, name = second
    source = await asyncpg.connect(database_server.url(old))
    await fill(source, 20)
    dump = dump_of(old, *how)
    await source.execute("TRUNCATE signals CASCADE")  # since the dump
    before = await contents(source)
    await source.close()
    legacy: Any = load("module_utils.legacy_dumps")
    with pytest.raises(legacy.SourceError, match="--create"):
        legacy.check_dump(io.BytesIO(dump), [])
    with pytest.raises(legacy.SourceError, match="--create"):
        restore(name, dump)
    source = await asyncpg.connect(database_server.url(old))
    assert await contents(source) == before
    await source.close()
