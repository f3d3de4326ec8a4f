"""A dump of the replaced system's database, and a throw-away server to read that database with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ansible_collections.signal_processor.stack.plugins.module_utils.database_copies import manifest_path
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import leftovers, runs
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost.causes import last_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CLUSTER = "/var/lib/postgresql/data"
DATABASE = "trading_signals"
DUMPS = "backups/legacy"
START_SECONDS = 600  # of a server that may have to recover first
_HEAD = 64 * 1024
_OURS = "_pogo_migration"
# Statements of a dump in plain SQL. Those left out name roles, or a setting of a newer server.
_COPY = re.compile(rb"COPY .* FROM stdin;\s*$")
_RESTRICT = re.compile(rb"\\(?:un)?restrict \w+\s*$")
_LEFT_OUT = re.compile(
    rb"ALTER .* OWNER TO |ALTER DEFAULT PRIVILEGES |GRANT |REVOKE |SET SESSION AUTHORIZATION "
    rb"|SET transaction_timeout |\\(?:un)?restrict "
)
_OF_SERVER = re.compile(rb"\\c(?:onnect)? |(?:CREATE|ALTER|DROP) (?:DATABASE|ROLE|TABLESPACE) ")
_QUOTE = re.compile(rb"--|['\"\\]|\$(?:[A-Za-z_]\w*)?\$")
_HBA = "local all all trust\\nhost all all 127.0.0.1/32 trust\\nhost all all all scram-sha-256\\n"


class SourceError(Exception):
    """The source cannot be read; the reason as half a sentence, for the operator."""


def docker(*argv: str, stdin: BinaryIO | None = None, stdout: BinaryIO | None = None) -> str:
    """Run a command of the engine, and return its output unless a file gets it.

    Raises SourceError with the command's last line.
    """
    if stdin is not None:
        stdin.seek(0)
    done = subprocess.run(
        ["docker", *argv],
        stdin=stdin or subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        raise SourceError(last_line(done.stderr, done.returncode))
    return (done.stdout or b"").decode(errors="replace")


def is_here(image: str) -> bool:
    """Whether the engine has the image."""
    argv = ["docker", "image", "inspect", image]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def manifest_of(dump: Path) -> dict[str, Any]:
    """Return what a run noted of a dump that it made; empty for any other file."""
    try:
        found = json.loads(manifest_path(dump).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def format_of(file: BinaryIO) -> str:
    """Return `custom` or `plain`. Raises SourceError for anything else."""
    file.seek(0)
    head = file.read(_HEAD)
    if not head:
        raise SourceError("it is empty")
    if head.startswith(b"PGDMP"):
        return "custom"
    if head.startswith(b"\x1f\x8b"):
        raise SourceError("it is compressed: unpack it first (gunzip)")
    if b"PostgreSQL database dump" in head:
        return "plain"
    raise SourceError("it is not a pg_dump: make one with pg_dump -Fc, or in plain SQL")


def check_dump(file: BinaryIO, pg_restore: Sequence[str]) -> str:
    """Read all of a dump of the replaced system; return its format. Raises SourceError.

    `pg_restore` is the command of the engine that runs that program with a file on its stdin.
    """
    kind = format_of(file)
    if kind == "custom":
        contents = docker(*pg_restore, "--list", stdin=file)
        has = {name for name in (*("signals", _OURS),) if f" TABLE DATA public {name} " in contents}
        docker(*pg_restore, "--file=/dev/null", stdin=file)
        definition = docker(*pg_restore, "--schema-only", "--table=signals", "--file=-", stdin=file)
        is_old = bool(re.search(r"^\s+signal_id ", definition, re.MULTILINE))
    else:
        has, is_old = _check_plain(file)
    if _OURS in has:
        raise SourceError("it is a dump of this system: python3 run.py --restore-db puts it back")
    if "signals" not in has or not is_old:
        raise SourceError("it is not a dump of the replaced system: it has no table signals with signal_id")
    return kind


def _plain(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Yield each line of a dump in plain SQL, and whether it begins outside of quotes and data.

    Raises SourceError at a line with which `psql` would leave the database that it is given.
    """
    file.seek(0)
    quote, is_data = b"", False
    for number, line in enumerate(file, 1):
        begins = not quote and not is_data
        if is_data:
            is_data = line.rstrip(b"\r\n") != b"\\."
        elif begins and _OF_SERVER.match(line):
            word = line.split()[0].decode()
            raise SourceError(
                f"line {number} ({word} …) is about other databases or roles: it was made with --create "
                "or by pg_dumpall; make one with pg_dump -Fc"
            )
        elif begins and _COPY.match(line):
            is_data = True
        elif not (begins and _RESTRICT.match(line)):
            quote = _quote_after(line, quote)
            if quote == b"\\":
                raise SourceError(
                    f"line {number} has a command of psql, unknown in a dump: make one with pg_dump -Fc"
                )
        yield line, begins


def _quote_after(line: bytes, quote: bytes) -> bytes:
    """Return the quote that is open after a line, or a backslash that is in none. Pure."""
    at = 0
    while True:
        if quote:
            at = line.find(quote, at) + len(quote)
            if at < len(quote):
                return quote
        found = _QUOTE.search(line, at)
        if not found or found[0] == b"--":
            return b""
        quote, at = found[0], found.end()
        if quote == b"\\":
            return quote


def _check_plain(file: BinaryIO) -> tuple[set[str], bool]:
    tables, inside, is_old, last = set[str](), "", False, b""
    for line, begins in _plain(file):
        if begins and (found := re.match(rb'CREATE TABLE (?:public\.)?"?(\w+)"? \(', line)):
            inside = found[1].decode()
            tables.add(inside)
        elif line.startswith(b");"):
            inside = ""
        elif inside == "signals" and line.split()[:1] == [b"signal_id"]:
            is_old = True
        if line.strip() and not line.startswith((b"--\n", b"--\r\n", b"\\unrestrict")):
            last = line if begins else b""
    if b"PostgreSQL database dump complete" not in last:
        raise SourceError("its end is missing: the last line is not `PostgreSQL database dump complete`")
    return tables, is_old


class Reader:
    """A throw-away server that has the replaced system's database."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *argv: str, user: str = "postgres", stdin: BinaryIO | None = None) -> str:
        """Run a program in its container. Raises SourceError."""
        return docker("exec", "--interactive", f"--user={user}", self.name, *argv, stdin=stdin)

    def sql(self, statement: str, database: str = DATABASE) -> str:
        """Run a statement. Raises SourceError."""
        psql = ["psql", *self.options(database), "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return self.run(*psql)

    def options(self, database: str = DATABASE) -> list[str]:
        """Return how a client reaches it inside of its container."""
        return ["-h", "/tmp", "-U", "postgres", "-d", database]  # noqa: S108  # the container's own

    def load(self, file: BinaryIO, kind: str) -> None:
        """Fill its database from a dump. Raises SourceError."""
        self.sql(f"CREATE DATABASE {DATABASE} TEMPLATE template0", "postgres")
        restore(["exec", "--interactive", "--user=postgres", self.name], self.options(), file, kind)


def restore(exec_: Sequence[str], options: Sequence[str], file: BinaryIO, kind: str) -> None:
    """Read a dump into an empty database. Raises SourceError, at the first statement that fails.

    Owners and privileges are left out: their roles are not here.
    """
    if kind == "custom":
        exit_on = ("--no-owner", "--no-privileges", "--exit-on-error")
        docker(*exec_, "pg_restore", *options, *exit_on, stdin=file)
        return
    # After an error psql would read the lines of a COPY, which anyone may have sent, as SQL: it has to end.
    argv = ["docker", *exec_, "psql", *options, "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said) as psql,
    ):
        # Where it has ended early, its exit code says why.
        with contextlib.suppress(BrokenPipeError), cast("BinaryIO", psql.stdin) as stdin:
            for line, begins in _plain(file):
                if not (begins and _LEFT_OUT.match(line)):
                    stdin.write(line)
        code = psql.wait()
        if code != 0:
            said.seek(0)
            stderr = said.read()
            errors = [line for line in stderr.decode(errors="replace").splitlines() if "ERROR:" in line]
            raise SourceError(errors[0] if errors else last_line(stderr, code))


@contextlib.contextmanager
def reader(image: str, *, volume: str = "", network: str = "none") -> Iterator[Reader]:
    """Run a server on a copy of a volume, or an empty one. It is removed with all that it has written.

    The volume itself is mounted read-only and stays as it is. Raises SourceError.
    """
    run_id = os.environ.get(leftovers.MARK, "by-hand")
    found = Reader(f"trading-signal-processor-reader-{run_id}")
    mounts = [f"--volume={CLUSTER}", *([f"--volume={volume}:/old:ro"] if volume else [])]
    remove = ["docker", "rm", "--force", "--volumes", found.name]
    subprocess.run(remove, capture_output=True, check=False)  # of a module of this run that was killed
    try:
        docker(
            "run", "--detach", "--rm", "--init", "--pull=never", f"--name={found.name}",
            f"--label={runs.LABEL}={run_id}", f"--network={network}", "--user=0", *mounts,
            "--entrypoint=sleep", image, "infinity",
        )  # fmt: skip
        _start(found, with_copy=bool(volume))
        yield found
    finally:
        subprocess.run(remove, capture_output=True, check=False)


def _start(server: Reader, *, with_copy: bool) -> None:
    # The registry's images make databases of the locale en_US, which others may lack.
    locale = "localedef -i en_US -f UTF-8 en_US.UTF-8 2>/dev/null; "
    copy = f"{locale}cp -a /old/. {CLUSTER}/ && rm -f {CLUSTER}/postmaster.pid && " if with_copy else ""
    own = f"chown -R postgres: {CLUSTER} && chmod 0700 {CLUSTER} && printf '{_HBA}' >/tmp/hba.conf"
    server.run("sh", "-c", f"{copy}{own}", user="root")
    if not with_copy:
        server.run("initdb", f"--pgdata={CLUSTER}", "--username=postgres", "--encoding=UTF8",
                   "--locale=C.UTF-8", "--auth=trust", "--no-sync")  # fmt: skip
    # What the copy's own configuration may name is not there: libraries, certificates, an archive.
    options = " ".join(
        f"-c {option}"
        for option in (
            "listen_addresses=*",
            "port=5432",
            "password_encryption=scram-sha-256",
            "unix_socket_directories=/tmp",
            "hba_file=/tmp/hba.conf",
            "shared_preload_libraries=",
            "ssl=off",
            "archive_mode=off",
            "fsync=off",
        )
    )
    start = ["pg_ctl", f"--pgdata={CLUSTER}", "-l", "/tmp/server.log", "-w", "-t", str(START_SECONDS)]  # noqa: S108
    try:
        server.run(*start, "-o", options, "start")
    except SourceError as error:
        with contextlib.suppress(SourceError):
            lines = server.run("tail", "-n", "3", "/tmp/server.log").split("\n")  # noqa: S108
            raise SourceError(" / ".join(line for line in lines if line.strip())) from error
        raise
