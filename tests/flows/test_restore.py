"""`--restore-db`: the same rows, nothing is delivered automatically, and bad files are refused."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.hosts.probe import Probe
from tests.hosts.stack import APP, DATABASE

if TYPE_CHECKING:
    from tests.hosts.stack import Stack

# A buy that waits and a sell that a sender has claimed, stored while the app is stopped.
UNFINISHED = """
INSERT INTO signals (id, status, type, ticker, expires_at, body)
VALUES ('00000000-0000-4000-8000-000000000001', 'approved', 'buy', 'NVDA', now() + interval '1 hour', '{}');
INSERT INTO signals (id, status, type, ticker, expires_at, body, claim_id, lease_until)
VALUES ('00000000-0000-4000-8000-000000000002', 'forwarding', 'sell', 'AAPL', now() + interval '1 hour', '{}',
        '00000000-0000-4000-8000-000000000003', now() + interval '1 hour');
INSERT INTO attempts (signal_id, round, number, destination, webhook_id, claim_id)
VALUES ('00000000-0000-4000-8000-000000000002', 1, 1, 'paper', 'x', '00000000-0000-4000-8000-000000000003');
"""
SYSTEM = '{"mine": 1}\n'
FINISHED = "status IN ('forwarded', 'rejected')"


@pytest.fixture(autouse=True, scope="module")
def delivering(stack: Stack) -> None:
    """Configure two approved tickers, and deliver two signals."""
    stack.approve("AAPL", "NVDA")
    stack.host.write(f"{stack.project}/config/system_config.json", SYSTEM, mode=0o600)
    stack.run_py("--quick").require()
    for ticker in ("NVDA", "MSFT"):
        _post(stack, ticker)


def _post(stack: Stack, ticker: str) -> str:
    """Send a buy and wait for its end; return our id."""
    body = f'{{"ticker": "{ticker}", "action": "buy", "run": "{uuid.uuid4()}"}}'
    signal_id: str = stack.post(body.encode()).json()["signal_id"]
    stack.outcome(signal_id)
    return signal_id


def _backup(stack: Stack) -> str:
    """Make a dump; return its path on the host."""
    stack.run_py("--backup-db").require()
    return stack.host.run("ls -t $PWD/backups/db/*.dump | head -1", folder=stack.project).stdout.strip()


def _rows(stack: Stack) -> list[list[list[str]]]:
    """Return what a dump and its restoration share: ended signals, attempts, positions, sequences."""
    return [
        stack.sql(f"SELECT id, seq, status, reason, md5(body) FROM signals WHERE {FINISHED} ORDER BY seq"),  # noqa: S608
        stack.sql(
            "SELECT id, signal_id, outcome, ended_at FROM attempts WHERE webhook_id <> 'x' ORDER BY id"
        ),
        stack.sql("SELECT id, ticker, status, buys, opened_by FROM positions ORDER BY id"),
        stack.sql(
            "SELECT last_value FROM pg_sequences WHERE sequencename ~ '^(signals|attempts)_' ORDER BY 1"
        ),
    ]


def _databases(stack: Stack) -> list[str]:
    return [
        name for (name,) in stack.sql("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1")
    ]


def test_restoring_needs_a_confirmation_and_one_host(stack: Stack) -> None:
    """No terminal and no --yes: exit 8, nothing changed."""
    before = stack.containers(), _databases(stack)
    result = stack.run_py("--restore-db", "backups/db/any.dump")
    assert result.code == 8
    assert (stack.containers(), _databases(stack)) == before


# How a file is made from a good one by the server's own tools, and the refusal's message.
BAD_FILES = {
    "missing": ("true", "no such file"),
    "empty": (": > bad.dump", "empty"),
    "corrupt": ("head -c 3000 good.dump > bad.dump", "could not read"),
    "other bytes": ("head -c 9000 /dev/urandom > bad.dump", "pg_restore"),
    "changed": ('cp good.dump bad.dump; echo \'{"sha256": "0"}\' > bad.dump.json', "sha256"),
    "foreign": ("edited 'DROP VIEW position_states; DROP TABLE positions'", "not a dump of this application"),
    "newer": ("edited \"UPDATE _pogo_migration SET migration_id = '29990101_01-x'\"", "29990101_01-x"),
    # These two can be read, but fail while they are restored.
    "orphans": (
        "edited 'SET session_replication_role = replica; DELETE FROM signals'",
        "violates foreign key",
    ),
    "a table short": ("edited 'DROP TABLE destinations'", "destinations"),
}
EDITED = f"""
sql() {{ docker exec -i {DATABASE} psql -U postgres -q "$@"; }}
edited() {{
    sql -c 'CREATE DATABASE edited'
    docker exec -i {DATABASE} pg_restore -U postgres -d edited < good.dump
    sql -d edited -c "$1"
    docker exec {DATABASE} pg_dump -U postgres -Fc -d edited > bad.dump
    sql -c 'DROP DATABASE edited'
}}
set -e
rm -f bad.dump*
"""


@pytest.fixture(scope="module")
def good(stack: Stack) -> None:
    """Make a dump, from which each bad file is made."""
    stack.host.run(f"cp {_backup(stack)} good.dump").require()


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize(
    "kind",
    [
        *("corrupt", "changed", "newer", "a table short"),
        *(
            pytest.param(kind, marks=pytest.mark.exhaustive)
            for kind in ("missing", "empty", "other bytes", "foreign", "orphans")
        ),
    ],
)
def test_a_file_that_cannot_be_restored(stack: Stack, kind: str) -> None:
    """Exit 3 with the reason: same rows, same databases, same containers, delivery as before."""
    make, reason = BAD_FILES[kind]
    stack.host.run(f"{EDITED} {make}").require()
    before = _rows(stack), _databases(stack), {name: one.id for name, one in stack.containers().items()}
    with Probe(stack.health_url) as probe:
        result = stack.run_py("--restore-db", "/root/bad.dump", "--yes")
    assert result.code == 3, result.output
    assert reason in result.output
    assert (_rows(stack), _databases(stack), {n: c.id for n, c in stack.containers().items()}) == before
    assert stack.host.read(f"{stack.project}/config/system_config.json") == SYSTEM
    assert kind == "a table short" or probe.failed == 0
    _post(stack, "NVDA")


def test_the_limits_count_what_the_replaced_database_sent(stack: Stack) -> None:
    """Attempts since the dump are carried over with their signals; the replaced database is kept."""
    dump, before = _backup(stack), stack.containers()
    positions = stack.sql("SELECT id, ticker, status, buys FROM positions")
    later = _post(stack, "AAPL")
    result = stack.run_py("--restore-db", dump, "--yes").require()

    assert stack.containers()[DATABASE] == before[DATABASE]
    assert stack.sql(f"SELECT outcome FROM attempts WHERE signal_id = '{later}'") == [["delivered"]]  # noqa: S608
    assert stack.sql(f"SELECT status FROM signals WHERE id = '{later}'") == [["forwarded"]]  # noqa: S608
    assert stack.sql("SELECT id, ticker, status, buys FROM positions") == positions
    kept = [name for name in _databases(stack) if name.startswith("trading_signals_")]
    assert kept[-1] in result.output
    asked = f"docker exec {DATABASE} psql -U postgres -d {kept[-1]} -Atc"
    assert stack.host.run(f"{asked} 'TABLE positions'").require().stdout.count("|open|") == 2


def test_a_dump_in_a_fresh_stack(stack: Stack) -> None:
    """The same rows, positions and sequences; what was not final is expired, and nothing is sent."""
    stack.host.run(f"docker stop {APP}").require()
    stack.sql(UNFINISHED)
    dump, rows = _backup(stack), _rows(stack)
    stack.run_py("--db", "--yes", "--no-dump").require()
    result = stack.run_py("--restore-db", dump, "--yes").require()

    assert _rows(stack) == rows
    held = stack.sql("SELECT status, reason FROM signals WHERE id::text LIKE '00000000-%' ORDER BY id")
    assert held == [["expired", "restored"], ["expired", "restored"]]
    assert stack.sql("SELECT outcome, error FROM attempts WHERE webhook_id = 'x'") == [
        ["unknown", "restored"]
    ]
    assert "held: 1 buys and 1 sells" in result.output
    assert "DELIVERY IS PAUSED" in result.output

    sent = stack.sql("SELECT count(*) FROM paper_deliveries")
    answer = stack.post(b'{"ticker": "NVDA", "action": "buy"}').json()["signal_id"]
    stack.wait_until(f"EXISTS (SELECT FROM signals WHERE id = '{answer}' AND status = 'approved')", 10)
    assert stack.sql("SELECT count(*) FROM signals WHERE status = 'forwarding'") == [["0"]]
    assert stack.sql("SELECT count(*) FROM paper_deliveries") == sent
    settings = json.loads(stack.host.read(f"{stack.project}/config/system_config.json"))
    assert settings == {"mine": 1, "delivery_paused": True}
