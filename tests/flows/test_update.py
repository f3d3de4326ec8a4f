"""`--update` and `--quickupdate` from a real remote: what they bring, and what they keep."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.hosts.load import Traffic
from tests.hosts.probe import Probe
from tests.hosts.stack import APP, DATABASE, Stack
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = (
    ".env",
    "config/finviz_config.json",
    "config/webhook_config.json",
    "config/system_config.json",
)
ALERTS_A_SECOND = 20


@pytest.fixture(scope="module")
def upstream(stack: Stack) -> Upstream:
    """Return the remote that the stack's checkout follows."""
    return Upstream(stack.host)


@pytest.fixture(scope="module", autouse=True)
def history(stack: Stack) -> None:
    """Store signals with different ends, an open position, and unusual configuration."""
    stack.approve("AAPL", "NVDA")
    stack.host.write(f"{stack.project}/config/webhook_config.json", '{"timeout": 7.50}\r\n', mode=0o640)
    stack.run_py("--quick").require()
    for ticker, action in (("NVDA", "buy"), ("AAPL", "buy"), ("AAPL", "sell"), ("MSFT", "buy")):
        body = f'{{"ticker": "{ticker}", "action": "{action}", "run": "{uuid.uuid4()}"}}'
        stack.outcome(stack.post(body.encode()).json()["signal_id"])


def _configuration(stack: Stack) -> str:
    """Return sum, mode, owner and time of each of the operator's files."""
    names = " ".join(CONFIGURATION)
    command = f"sha256sum {names} && stat --format '%n %a %u %g %Y' {names}"
    return stack.host.run(command, folder=stack.project).require().stdout


def _record(stack: Stack) -> dict[str, object]:
    record: dict[str, object] = json.loads(stack.host.read(f"{stack.project}/.run/versions.json"))
    return record


@pytest.fixture
def kept(stack: Stack) -> Iterator[None]:
    """Assert that the database's container, its rows and the configuration stay unchanged."""
    before = stack.containers()[DATABASE], stack.kept_rows(), _configuration(stack)
    yield
    assert (stack.containers()[DATABASE], stack.kept_rows(), _configuration(stack)) == before


def _require_version(stack: Stack, commit: str) -> None:
    """Assert that this version answers, checkout and record are at it, and no other app container is left."""
    assert stack.health()["version"] == commit[:12]
    assert stack.head() == commit
    assert _record(stack)["current"] == commit[:12]
    assert stack.host.run(f"docker ps --all --format '{{{{.Names}}}}' | grep -c {APP}").stdout == "1\n"


@pytest.mark.usefixtures("kept")
def test_a_quick_update_brings_the_new_commit(stack: Stack, upstream: Upstream) -> None:
    commit = upstream.push({"app/news.txt": f"{uuid.uuid4()}\n"})
    with Probe(stack.health_url) as probe:
        result = stack.run_py("--quickupdate").require()

    assert commit[:12] in result.output
    _require_version(stack, commit)
    assert (probe.answered > 0, probe.failed) == (True, 0)


def test_an_update_loses_no_alert(stack: Stack, upstream: Upstream) -> None:
    """No alert is refused, none waits for more than 3 s, and each that was accepted is stored once."""
    before, configuration = stack.containers(), _configuration(stack)
    commit = upstream.push({"app/news.txt": f"{uuid.uuid4()}\n"})
    traffic = Traffic(stack.webhook_url, secret=stack.secret, tickers=("NOTLISTED",), rate=ALERTS_A_SECOND)
    with traffic:
        stack.run_py("--update").require()

    _require_version(stack, commit)
    assert (stack.containers()[DATABASE], _configuration(stack)) == (before[DATABASE], configuration)
    assert traffic.lost == []
    stored = [id_ for (id_,) in stack.sql("SELECT id FROM signals WHERE ticker = 'NOTLISTED' ORDER BY id")]
    assert (stored, len(stored) > ALERTS_A_SECOND) == (traffic.accepted, True)


@pytest.mark.usefixtures("kept")
def test_an_update_with_nothing_new_replaces_no_container(stack: Stack) -> None:
    """Built from the cache, the image is the same: nothing is swapped."""
    before = stack.containers()
    with Probe(stack.health_url) as probe:
        stack.run_py("--quickupgrade").require()
    assert stack.containers() == before
    assert (probe.answered > 0, probe.failed) == (True, 0)


@pytest.mark.usefixtures("kept")
def test_configuration_survives_a_commit_that_tracks_it(stack: Stack, upstream: Upstream) -> None:
    """With unchanged content and mode, and a backup; the next update is possible, too."""
    theirs = dict.fromkeys(CONFIGURATION, '{"theirs": true}\n') | {".env": "ADMIN_TOKEN=theirs\n"}
    first = upstream.push(theirs)
    stack.run_py("--quickupdate").require()
    assert stack.head() == first
    assert stack.health()["version"] == first[:12]

    second = upstream.push({**theirs, ".env": "ADMIN_TOKEN=again\n", "app/news.txt": "tracked\n"})
    result = stack.run_py("--quickupdate").require()
    assert (stack.head(), stack.health()["version"]) == (second, second[:12])
    before = stack.containers()
    stack.run_py("--quick").require()
    assert stack.containers() == before, result.output

    newest = stack.host.run("ls -d backups/*-quickupdate | tail -1", folder=stack.project).stdout.strip()
    manifest = json.loads(stack.host.read(f"{stack.project}/{newest}/manifest.json"))
    assert set(manifest["files"]) == set(CONFIGURATION)
    assert manifest["commit"] == first
    sums = stack.host.run(f"cd {newest} && sha256sum {' '.join(CONFIGURATION)}", folder=stack.project)
    assert sums.stdout in _configuration(stack)
    assert stack.host.run(f"stat --format %a {newest}", folder=stack.project).stdout == "700\n"


@pytest.mark.usefixtures("kept")
def test_an_update_of_the_controller_runs_with_its_own_code(stack: Stack, upstream: Upstream) -> None:
    """The commit's changes in `deploy/` and in a role take effect in this run."""
    summary = upstream.read("deploy/summary.py").replace("sign in with", "come in with")
    status = upstream.read("roles/status/tasks/main.yml").replace("Look at the stack", "Behold the stack")
    commit = upstream.push({"deploy/summary.py": summary, "roles/status/tasks/main.yml": status})
    result = stack.run_py("--quickupdate").require()

    assert "come in with ADMIN_TOKEN" in result.output
    assert "Behold the stack" in result.output
    assert (stack.head(), stack.health()["version"]) == (commit, commit[:12])
    assert result.output.count("Lay the tree out") == 1


@pytest.mark.usefixtures("kept")
@pytest.mark.exhaustive
def test_an_update_of_the_locks_runs_in_an_environment_made_from_them(
    stack: Stack, upstream: Upstream
) -> None:
    """It is temporary, for this run only; the checkout's own environment follows with the next run."""
    lock = upstream.read("requirements/deploy.txt") + "# another lock\n"
    commit = upstream.push({"requirements/deploy.txt": lock})
    result = stack.run_py("--quickupdate").require()
    assert result.output.count("Making .venv") == 1
    assert (stack.head(), stack.health()["version"]) == (commit, commit[:12])
    assert stack.host.run("ls -a .run/releases/*", folder=stack.project).stdout.count(".venv") == 0
    assert stack.run_py("--status-only").require().output.count("Making .venv") == 1
