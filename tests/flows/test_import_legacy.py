"""`--import-legacy`: from a running stack, a stopped folder and a dump; the old volume is never written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.api.legacy import SIGNALS, TOKEN
from tests.hosts.checkout import install
from tests.hosts.ready import start_fresh
from tests.hosts.replaced import ReplacedStack
from tests.hosts.stack import APP, DATABASE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.docker import Result
    from tests.hosts.host import Host

pytestmark = pytest.mark.exhaustive

OPEN = 39  # 30 open and 10 closing, two of them in one ticker
CHECKOUT = "/opt/checkout"
# What a checkout has beyond a fresh one, but for `.venv`, which takes long to make.
FORGET = f"docker volume rm {APP}_postgres_data && rm -r .env config/*.json .run data logs backups"
FILES = "find . -path ./.git -prune -o -path ./.venv -prune -o -name __pycache__ -prune -o -print"
EVERYTHING = "docker ps --all --format '{{.Names}} {{.ID}} {{.State}}'; docker volume ls --quiet | sort"
TIMES = f"docker inspect --format '{{{{.State.StartedAt}}}}' {DATABASE} {APP}"


@pytest.fixture(scope="module")
def host(ready_image: str, source: bytes) -> Iterator[Host]:
    """Yield a host with a checkout of this system, and nothing of it that runs."""
    with start_fresh(ready_image, source, "import-legacy") as host:
        install(host, source, CHECKOUT)
        yield host


@pytest.fixture(autouse=True, scope="module")
def replaced(host: Host) -> ReplacedStack:
    """Start a stack of the replaced system."""
    return ReplacedStack(host, "/srv/trading")


def notes(result: Result) -> str:
    """Return what the document says of the host."""
    document: dict[str, Any] = json.loads(result.stdout)
    found = document["hosts"]["localhost"]
    assert found["otherwise"] == []
    return "\n".join(found["notes"])


def kill_after(stack: Stack, step: str, *arguments: str) -> None:
    """Start a flow and kill it when a step has ended."""
    process = stack.host.spawn(" ".join(["python3 run.py", *arguments]), folder=stack.project)
    assert process.stdout is not None
    pid, said = process.stdout.readline(), ""
    for line in process.stdout:
        said += line
        if step in line:
            break
    else:
        raise AssertionError(f"the step '{step}' never came:\n{said}")
    stack.host.run(f"kill -9 {pid}").require()
    process.stdout.read()
    process.wait(timeout=90)


def imported(stack: Stack) -> tuple[str, ...]:
    """Return how many signals, adopted positions and actions there are."""
    (row,) = stack.sql(
        "SELECT (SELECT count(*) FROM signals), (SELECT count(*) FROM positions WHERE status = 'open'),"
        " (SELECT count(*) FROM actions WHERE session = 'replaced system' AND action LIKE 'moved.%')"
    )
    return tuple(row)


ALL = (str(SIGNALS), str(OPEN), "500")


def test_a_running_stack_is_refused_by_other_flows_and_shown_by_check(
    host: Host, replaced: ReplacedStack
) -> None:
    """Nothing is stopped, made or written; the refusal names the flag."""
    stack = Stack(host, CHECKOUT)
    before = host.run(EVERYTHING).stdout, host.run(TIMES).stdout, replaced.contents()
    refused = stack.run_py("--quick", "--adopt")
    assert refused.code == 3, refused.output
    assert "--import-legacy SOURCE" in " ".join(refused.output.split())
    files = host.run(FILES, folder=CHECKOUT).stdout
    shown = stack.run_py("--import-legacy", replaced.folder, "--check", "--json").require()
    assert (host.run(EVERYTHING).stdout, host.run(TIMES).stdout, replaced.contents()) == before
    after = host.run(FILES, folder=CHECKOUT).stdout
    assert after == files
    said = notes(shown)
    assert "signals" in said
    assert str(SIGNALS) in said
    assert "variable: TOP_N would come" in said
    assert "variable: FINVIZ_PASSWORD does not come" in said
    for secret in ("old-finviz-password", TOKEN):
        assert secret not in shown.output


def test_a_running_stack_comes_also_after_a_run_that_was_killed(host: Host, replaced: ReplacedStack) -> None:
    """Complete the second time, without anything sent; a third run adds nothing. Exits pass.

    A value that the new image refuses leaves the replaced system as it is.
    """
    stack = Stack(host, CHECKOUT)
    before = host.run(TIMES).stdout
    host.run("echo LOG_LEVEL=verbose >>.env", folder=replaced.folder).require()
    wrong = stack.run_py("--import-legacy", DATABASE)
    assert wrong.code == 3, wrong.output
    assert "LOG_LEVEL" in wrong.output
    assert host.run(TIMES).stdout == before
    host.run("sed -i /LOG_LEVEL/d .env", folder=replaced.folder).require()
    host.run("sed -i 's/^LOG_LEVEL=.*/LOG_LEVEL=INFO/' .env", folder=CHECKOUT).require()

    kill_after(stack, "Load the dump into a second database", "--import-legacy", DATABASE)
    result = stack.run_py("--import-legacy", DATABASE, "--json").require()
    assert imported(stack) == ALL
    settings = stack.settings()
    assert settings["TOP_N"] == "21"
    assert "POSTGRES_VOLUME" not in settings or not settings["POSTGRES_VOLUME"]
    again = notes(stack.run_py("--import-legacy", DATABASE, "--json").require())
    assert f"signals: {SIGNALS} found, 0 came, {SIGNALS} present already" in again
    assert imported(stack) == ALL

    assert stack.sql("SELECT count(*) FROM paper_deliveries") == [["0"]]
    assert stack.sql("SELECT count(*) FROM pg_database WHERE datname = 'trading_signals_replaced'") == [["0"]]
    strategies = json.loads(host.read(f"{CHECKOUT}/config/finviz_config.json"))
    assert strategies["active"] == "Movers"
    dump = f"docker exec {DATABASE} pg_dump -U postgres trading_signals | grep -c -F '{TOKEN}'"
    assert host.run(dump).stdout.strip() == "0"
    assert TOKEN not in result.output + host.run("cat config/*", folder=CHECKOUT).stdout
    sell = stack.post(b'{"ticker": "T5", "action": "sell"}').json()["signal_id"]
    assert stack.outcome(sell)[0] == "forwarded"


def test_the_old_stack_starts_again(host: Host, replaced: ReplacedStack) -> None:
    """With the rows that it had; and a dump of it in plain SQL adds nothing that is here already."""
    stack = Stack(host, CHECKOUT)
    stack.run_py("--stop").require()
    replaced.up()
    assert replaced.sql("SELECT count(*) FROM signals").strip() == str(SIGNALS)
    pg_dump = f"docker exec {DATABASE} pg_dump -U postgres trading_signals >/root/plain.sql"
    host.run(pg_dump).require()
    replaced.down()
    said = notes(stack.run_py("--import-legacy", "/root/plain.sql", "--json").require())
    assert f"signals: {SIGNALS} found, 0 came" in said
    stack.run_py("--stop").require()


def test_a_stopped_folder_whose_volume_has_the_name_of_ours(host: Host) -> None:
    """Read from a copy; ours gets another volume, also for later flows."""
    host.run(FORGET, folder=CHECKOUT).require()
    replaced = ReplacedStack(host, f"/srv/{APP}")
    assert replaced.volume == f"{APP}_postgres_data"
    replaced.down()
    stack = Stack(host, CHECKOUT)
    before = replaced.files()
    assert "PG_VERSION" in before
    refused = stack.run_py("--quick", "--adopt")
    assert refused.code == 3, refused.output
    assert "--import-legacy SOURCE" in " ".join(refused.output.split())
    shown = notes(stack.run_py("--import-legacy", replaced.folder, "--check", "--json").require())
    assert f"signals: {SIGNALS} found, {SIGNALS} would come" in shown

    stack.run_py("--import-legacy", replaced.folder, "--json").require()
    assert replaced.files() == before
    assert imported(stack) == ALL
    volume = stack.settings()["POSTGRES_VOLUME"]
    mounts = "docker inspect --format '{{range .Mounts}}{{.Name}}{{end}}' " + DATABASE
    assert host.run(mounts).stdout.strip() == volume != replaced.volume
    assert volume in stack.run_py("--diagnose").require().output
    stack.run_py("--db", "--yes", "--no-dump").require()
    assert imported(stack) == ("0", "0", "0")
    assert replaced.files() == before
    leftovers = host.run(
        "docker ps --all --format '{{.Names}}' | grep reader; docker volume ls -q --filter dangling=true"
    )
    assert set(leftovers.stdout.split()) == {replaced.volume, "trading_postgres_data"} - {volume}
