"""Backups and destruction of the database: what is kept, and what is removed."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.hosts.probe import Probe
from tests.hosts.stack import APP, DATABASE, EDGE
from tests.hosts.state import FILES, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.stack import Stack

VOLUME = "trading-signal-processor_postgres_data"
IMAGE = "trading-signal-processor/base-postgres:current"
CLUSTER = f"/var/lib/docker/volumes/{VOLUME}/_data"
BACKUPS = "backups/db"


@pytest.fixture(scope="module", autouse=True)
def history(stack: Stack) -> None:
    """Configure a list, so that posts are approved and positions opened."""
    stack.approve("AAPL", "NVDA")
    stack.run_py("--quick").require()


@pytest.fixture
def signals(stack: Stack) -> list[list[list[str]]]:
    """Store signals with different ends and an open position; return everything that must survive."""
    for ticker, action in (("NVDA", "buy"), ("AAPL", "buy"), ("AAPL", "sell"), ("MSFT", "buy")):
        body = f'{{"ticker": "{ticker}", "action": "{action}", "run": "{uuid.uuid4()}"}}'
        stack.outcome(stack.post(body.encode()).json()["signal_id"])
    return _rows(stack)


def _rows(stack: Stack) -> list[list[list[str]]]:
    return [
        stack.sql("SELECT id, seq, status, reason, ticker, md5(body) FROM signals ORDER BY seq"),
        stack.sql("SELECT id, ticker, status, buys, opened_by, closed_by FROM positions ORDER BY id"),
        stack.sql("SELECT id, signal_id, outcome, ended_at FROM attempts ORDER BY id"),
        stack.sql("SELECT id, signal_id, status, at FROM signal_events ORDER BY id"),
    ]


def _copies(stack: Stack, pattern: str = "*.dump") -> list[str]:
    """Return the paths of the copies, oldest first."""
    listing = stack.host.run(f"ls {BACKUPS}/{pattern}", folder=stack.project).stdout
    return [f"{stack.project}/{name}" for name in listing.split()]


def _listing(stack: Stack, dump: str) -> str:
    """Return what the server's `pg_restore --list` reads in a dump."""
    return stack.host.run(f"docker exec -i {DATABASE} pg_restore --list < {dump}").require().stdout


@contextlib.contextmanager
def untouched(stack: Stack) -> Iterator[None]:
    """Assert that nothing was made, changed or restarted, and that the app answered all along."""
    before = state(stack, FILES), stack.containers(), _rows(stack)
    with Probe(stack.health_url) as probe:
        yield
    assert (state(stack, FILES), stack.containers(), _rows(stack)) == before
    assert (probe.answered > 0, probe.failed) == (True, 0)


@contextlib.contextmanager
def damaged(stack: Stack) -> Iterator[str]:
    """Damage the cluster so that it refuses every connection; restore the missing part afterwards."""
    ((part,),) = stack.sql(
        "SELECT 'base/' || oid || '/pg_filenode.map' FROM pg_database WHERE datname = current_database()"
    )
    stack.host.run(f"mv {CLUSTER}/{part} /root/part").require()
    yield part
    stack.host.run(f"mv /root/part {CLUSTER}/{part}").require()


@contextlib.contextmanager
def neighbour(stack: Stack) -> Iterator[None]:
    """Create another project's volume, image and build cache with similar names; assert that all stay."""
    run = stack.host.run
    run("docker volume create x_postgres_data").require()
    run("docker tag trading-signal-processor/base-python:current x/app:1").require()
    run("printf 'FROM x/app:1\\nRUN echo cached > /x\\n' | docker build -t x/built:1 -").require()
    identities = "docker images --no-trunc --format '{{.ID}} {{.Repository}}' 'x/*' | sort"
    before = run(identities).require().stdout
    yield
    assert "x_postgres_data" in run("docker volume ls --quiet").require().stdout.split()
    assert run(identities).require().stdout == before
    again = run(
        "printf 'FROM x/app:1\\nRUN echo cached > /x\\n' | docker build --progress=plain -t x/built:1 -"
    ).require()
    assert "CACHED" in again.output
    run("docker volume rm x_postgres_data && docker rmi x/built:1 x/app:1").require()


def test_a_backup_can_be_read_and_changes_nothing(stack: Stack, signals: list[list[list[str]]]) -> None:
    """A file with its manifest, 0600 in 0700; the stack is unchanged."""
    before = stack.containers()
    with Probe(stack.health_url) as probe:
        result = stack.run_py("--backup-db").require()
    assert stack.containers() == before
    assert (probe.answered > 0, probe.failed) == (True, 0)
    (dump,) = _copies(stack)
    assert dump in result.output
    assert "TABLE DATA public signals" in _listing(stack, dump)

    manifest = json.loads(stack.host.read(f"{dump}.json"))
    digest = stack.host.run(f"sha256sum {dump}").require().stdout.split()[0]
    assert (manifest["sha256"], manifest["signals"]) == (digest, len(signals[0]))
    assert manifest["before_destruction"] is False
    modes = stack.host.run(f"stat --format %a {BACKUPS} {dump} {dump}.json", folder=stack.project).stdout
    assert modes.split() == ["700", "600", "600"]
    recorded = "SELECT count(*) FROM database_backups WHERE made_at > now() - interval '10 minutes'"
    assert stack.sql(recorded) == [["1"]]


def test_the_last_five_are_kept_and_all_those_before_a_destruction(stack: Stack) -> None:
    """Six backups are one too many; an old incomplete copy is deleted too."""
    folder = f"{stack.project}/{BACKUPS}"
    for number in range(6):
        note = {"before_destruction": number == 0}
        stack.host.write(f"{folder}/2020010{number}T000000Z-backup.dump", "x", mode=0o600)
        stack.host.write(f"{folder}/2020010{number}T000000Z-backup.dump.json", json.dumps(note), mode=0o600)
    stack.host.run(f"touch -d '1 hour ago' {folder}/20200101T000000Z-backup.dump.partial").require()
    stack.run_py("--backup-db").require()

    names = [path.rpartition("/")[2] for path in _copies(stack, "*Z-backup.dump*")]
    kept = [name for name in names if name.endswith(".dump")]
    assert kept[:1] == ["20200100T000000Z-backup.dump"]
    assert len(kept) == 6
    assert all(f"{name}.json" in names for name in kept)
    assert len(names) == 12
    stack.host.run(f"rm {folder}/2020*").require()


def test_a_backup_that_fails_leaves_nothing(stack: Stack) -> None:
    """Exit 5 with PostgreSQL's message, and no partial file."""
    before = _copies(stack, "*")
    with damaged(stack):
        result = stack.run_py("--backup-db")
    assert result.code == 5
    assert "pg_filenode.map" in result.output
    assert _copies(stack, "*") == before


def test_destruction_needs_a_confirmation(stack: Stack) -> None:
    """No terminal and no --yes: exit 8, and nothing changed."""
    with untouched(stack):
        result = stack.run_py("--db")
    assert result.code == 8
    assert VOLUME in result.output
    assert "--yes" in result.output


def test_a_fresh_database(stack: Stack, signals: list[list[list[str]]]) -> None:
    """A readable dump, then an empty database under the same app; other projects' objects stay."""
    before, version = stack.containers(), stack.health()["version"]
    with neighbour(stack):
        result = stack.run_py("--db", "--yes").require()
    after = stack.containers()
    assert after[DATABASE].id != before[DATABASE].id
    assert after[APP].id == before[APP].id
    assert stack.health()["version"] == version
    assert stack.sql("SELECT count(*) FROM signals") == [["0"]]
    assert "gap in service" in result.output

    dump = _copies(stack, "*-db.dump")[-1]
    assert dump in result.output
    assert "TABLE DATA public signals" in _listing(stack, dump)
    manifest = json.loads(stack.host.read(f"{dump}.json"))
    assert (manifest["signals"], manifest["before_destruction"]) == (len(signals[0]), True)
    stack.outcome(stack.post(b'{"ticker": "NVDA", "action": "buy"}').json()["signal_id"])


def test_without_any_copy_nothing_is_destroyed(stack: Stack, signals: list[list[list[str]]]) -> None:
    """Exit 3 with the remedy; the same containers run again, with the same rows."""
    before = {name: container.id for name, container in stack.containers().items()}
    folder = f"{stack.project}/{BACKUPS}"
    stack.host.run(f"mv {folder} {folder}.away && touch {folder}").require()
    try:
        result = stack.run_py("--db", "--yes")
    finally:
        stack.host.run(f"rm {folder} && mv {folder}.away {folder}").require()
    assert result.code == 3
    assert "--no-dump" in result.output
    assert {name: container.id for name, container in stack.containers().items()} == before
    assert stack.health()["status"] in {"healthy", "degraded"}
    assert _rows(stack) == signals


def test_a_corrupt_cluster_is_copied_cold_and_can_be_restored(
    stack: Stack, signals: list[list[list[str]]]
) -> None:
    """The server does not answer, so its volume is archived; repaired, it has every row."""
    with damaged(stack):
        result = stack.run_py("--db", "--yes").require()
        assert "cold copy" in result.output
        assert stack.sql("SELECT count(*) FROM signals") == [["0"]]
        (copy,) = _copies(stack, "*-db.volume.tar")
        manifest = json.loads(stack.host.read(f"{copy}.json"))
        assert manifest["sha256"] == stack.host.run(f"sha256sum {copy}").require().stdout.split()[0]

        # As in docs/operations.md; the repair restores the missing part.
        stack.run_py("--stop").require()
        stack.host.run(
            f"docker run --rm -i --user 0 -v {VOLUME}:/volume --entrypoint sh {IMAGE}"
            f" -c 'rm -rf /volume/* && tar -C /volume -xf -' < {copy}"
        ).require()
    stack.run_py("--quick").require()
    assert _rows(stack) == signals


@pytest.mark.exhaustive
def test_no_dump_destroys_at_once(stack: Stack) -> None:
    """With --no-dump no copy is made."""
    before = _copies(stack, "*")
    result = stack.run_py("--db", "--yes", "--no-dump").require()
    assert "WITHOUT a dump" in result.output
    assert _copies(stack, "*") == before
    assert stack.sql("SELECT count(*) FROM signals") == [["0"]]


def test_a_rebuild_starts_from_nothing(stack: Stack, signals: list[list[list[str]]]) -> None:
    """New image, containers and volume after a dump; older images and temporary files are deleted."""
    run = stack.host.run
    run(
        "echo 'FROM trading-signal-processor:latest' | docker build -t trading-signal-processor:older -"
    ).require()
    layer = "printf 'FROM trading-signal-processor:latest\\nRUN true\\n'"
    run(f"{layer} | docker build -t trading-signal-processor:old -").require()
    run("touch data/scratch backups/db/x.dump.partial", folder=stack.project).require()
    before = stack.containers()
    image = run("docker image inspect --format '{{.Id}}' trading-signal-processor:latest").require().stdout
    with neighbour(stack):
        stack.run_py("--rebuild", "--yes").require()
    after = stack.containers()
    assert {before[APP].id, before[DATABASE].id}.isdisjoint({after[APP].id, after[DATABASE].id})
    assert stack.sql("SELECT count(*) FROM signals") == [["0"]]
    assert stack.health()["status"] in {"healthy", "degraded"}

    manifest = json.loads(stack.host.read(f"{_copies(stack, '*-rebuild.dump')[-1]}.json"))
    assert (manifest["signals"], manifest["before_destruction"]) == (len(signals[0]), True)
    names = run(
        "docker images --format '{{.Tag}}' --filter reference=trading-signal-processor"
    ).stdout.split()
    assert sorted(names) == sorted(["latest", stack.health()["version"]])
    assert image not in run("docker images --all --no-trunc --quiet").stdout
    assert run("ls data", folder=stack.project).stdout == ""
    assert _copies(stack, "*.partial") == []


@pytest.mark.exhaustive
def test_a_rebuild_that_cannot_be_built_destroys_nothing(stack: Stack) -> None:
    """Exit 5 before the dump; the app answers all along."""
    file = f"{stack.project}/Dockerfile"
    original = stack.host.read(file)
    stack.host.write(file, f"{original}RUN echo this build breaks here && exit 9\n")
    try:
        before, rows = stack.containers(), _rows(stack)
        with Probe(stack.health_url) as probe:
            result = stack.run_py("--rebuild", "--yes")
    finally:
        stack.host.write(file, original)
    assert result.code == 5
    assert "this build breaks here" in result.output
    kept = stack.host.run("cat logs/diagnosis-*.txt", folder=stack.project).require().stdout
    assert f"== log of {DATABASE}" in kept
    assert (stack.containers(), _rows(stack)) == (before, rows)
    assert (probe.answered > 0, probe.failed) == (True, 0)


def test_a_diagnosis_shows_everything_and_changes_nothing(stack: Stack) -> None:
    """Containers, both logs, volume, network, disk, ports, health."""
    with untouched(stack):
        output = stack.run_py("--diagnose").require().output
    for section in (
        "health",
        "containers",
        f"log of {APP}",
        f"log of {DATABASE}",
        "volume",
        "network",
        "disk",
        "ports",
    ):
        assert f"== {section}" in output
    assert "database system is ready to accept connections" in output
    assert "docker-proxy" in output


@pytest.mark.exhaustive
def test_a_diagnosis_of_a_stopped_stack(stack: Stack) -> None:
    """The diagnosis is for this case: every available part is shown."""
    stack.host.run(f"docker stop {APP} {EDGE} {DATABASE}").require()
    try:
        result = stack.run_py("--diagnose")
    finally:
        stack.run_py("--quick").require()
    assert result.code == 0, result.output
    assert "Exited" in result.output
    assert f"{VOLUME}: made" in result.output
    assert "80: nobody listens" in result.output
