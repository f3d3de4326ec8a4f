"""`--update` and `--quickupdate` from a real remote: failed ones, what they bring, and what they keep.

After a failed update the old version serves, no local change is lost, and the message says what to do. Each
of these tests causes one fault, and undoes it.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.hosts import breaking
from tests.hosts.checkout import SOURCE
from tests.hosts.load import Traffic
from tests.hosts.probe import Probe
from tests.hosts.serving import serving_all_along
from tests.hosts.stack import APP, DATABASE, Stack
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.minutes(8)

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


def _git(stack: Stack, command: str) -> str:
    identity = "-c user.name=Operator -c user.email=operator@localhost"
    return stack.host.run(f"git {identity} {command}", folder=stack.project).require().stdout.strip()


def _versions(stack: Stack) -> dict[str, str]:
    """Return the state of every recorded version."""
    record = json.loads(stack.host.read(f"{stack.project}/.run/versions.json"))
    return {one["version"]: one["state"] for one in record["versions"]}


def _fault(upstream: Upstream, name: str) -> dict[str, str]:
    """Return the files of a commit that cannot be deployed."""
    if name == "build":
        return breaking.broken_build(upstream)
    if name == "migration":
        return breaking.broken_migration(upstream)
    if name == "start":
        return {"app/main.py": 'raise RuntimeError("this version cannot start")\n'}
    healthy = "status=checks.overall(found.values())"
    return {"app/ops/health.py": upstream.read("app/ops/health.py").replace(healthy, 'status="unhealthy"')}


@pytest.mark.parametrize(
    ("fault", "said", "bad"),
    [
        pytest.param("build", "this build breaks here", False, marks=pytest.mark.exhaustive),
        ("migration", "no_such_table", True),
        pytest.param("start", "this version cannot start", True, marks=pytest.mark.exhaustive),
        ("health", "HTTP 503", True),
    ],
)
def test_a_version_that_cannot_be_deployed(
    stack: Stack, upstream: Upstream, fault: str, said: str, *, bad: bool
) -> None:
    """Exit 5, the app was never stopped, the checkout stayed, the version is recorded as failed."""
    head = _git(stack, "rev-parse HEAD")
    with upstream.offering(_fault(upstream, fault)) as commit, serving_all_along(stack):
        result = stack.run_py("--quickupdate", "-e", "health_wait=15")
    assert result.code == 5
    assert "the old version still serves" in result.output
    assert said in result.output
    assert _git(stack, "rev-parse HEAD") == head
    assert _git(stack, "status --porcelain") == ""
    assert (_versions(stack).get(commit[:12]) == "bad") is bad


def test_a_failed_swap_is_undone(stack: Stack, upstream: Upstream) -> None:
    """Exit 5: the previous image and code are restored and pass the gate; the version is marked bad."""
    head, before = _git(stack, "rev-parse HEAD"), stack.health()["version"]
    with upstream.offering(breaking.starts_once(upstream)) as commit, Probe(stack.health_url) as probe:
        result = stack.run_py("--quickupdate")
    stack.host.run(f"rm {breaking.STARTED}", folder=stack.project).require()

    assert result.code == 5
    assert stack.health()["version"] == before
    assert f"Version {before} is back" in result.output
    assert "Send requests to the stand-in" in result.output
    assert (probe.answered > 0, probe.failed) == (True, 0)
    assert _git(stack, "rev-parse HEAD") == head
    assert _versions(stack)[commit[:12]] == "bad"


def test_no_rollback_leaves_the_failed_version_and_rollback_brings_the_good_one(
    stack: Stack, upstream: Upstream
) -> None:
    """The stand-in of that version serves; exit 5 with the command for the rollback, which ends 0."""
    before = stack.health()["version"]
    with upstream.offering(breaking.starts_once(upstream)) as commit:
        result = stack.run_py("--quickupdate", "--no-rollback")
        assert stack.health()["version"] == commit[:12]
    assert result.code == 5
    assert f"version {commit[:12]} serves on localhost, not {before}" in result.output
    assert "run.py --rollback" in result.output

    stack.host.run(f"rm {breaking.STARTED}", folder=stack.project).require()
    stack.run_py("--rollback").require()
    assert stack.health()["version"] == before


def test_an_edited_tracked_file(stack: Stack, upstream: Upstream) -> None:
    """Exit 3; the message names the file, and the edit stays."""
    with upstream.offering({"app/news.txt": "new\n"}), serving_all_along(stack):
        stack.host.run("echo edited >> README.md", folder=stack.project).require()
        result = stack.run_py("--quickupdate")
        edits = _git(stack, "diff --name-only")
        _git(stack, "checkout -- README.md")
    assert result.code == 3
    assert "README.md" in result.output
    assert "stash" in result.output
    assert edits == "README.md"


def test_an_untracked_file_that_would_be_replaced(stack: Stack, upstream: Upstream) -> None:
    """Exit 3; the message names the file that the commit would replace, and it stays."""
    path = f"{stack.project}/data/notes.txt"
    stack.host.write(path, "mine\n")
    with upstream.offering({"data/notes.txt": "theirs\n"}), serving_all_along(stack):
        result = stack.run_py("--quickupdate")
    assert result.code == 3
    assert "data/notes.txt" in result.output
    assert stack.host.read(path) == "mine\n"
    stack.host.run(f"rm {path}").require()


def test_a_diverged_branch(stack: Stack, upstream: Upstream) -> None:
    """Exit 3; the message names the local commit, which stays where it is."""
    head = _git(stack, "rev-parse HEAD")
    _git(stack, "commit --quiet --allow-empty --message 'Our own change'")
    ours = _git(stack, "rev-parse HEAD")
    with upstream.offering({"app/news.txt": "new\n"}), serving_all_along(stack):
        result = stack.run_py("--quickupdate")
    assert result.code == 3
    assert "Our own change" in result.output
    assert "rebase" in result.output
    assert _git(stack, "rev-parse HEAD") == ours
    _git(stack, f"reset --keep {head}")


def test_an_unreachable_remote(stack: Stack) -> None:
    """Exit 5; the message names the remote and the command to test it by hand."""
    stack.host.run(f"mv {SOURCE} {SOURCE}.away").require()
    try:
        with serving_all_along(stack):
            result = stack.run_py("--quickupdate")
    finally:
        stack.host.run(f"mv {SOURCE}.away {SOURCE}").require()
    assert result.code == 5
    assert SOURCE in result.output
    assert f"git -C {stack.project} fetch origin" in result.output


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
