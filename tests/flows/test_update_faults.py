"""Failed updates: the old version serves, no local change is lost, the message says what to do.

Every test causes one fault on the same host, and undoes it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.hosts import breaking
from tests.hosts.checkout import SOURCE
from tests.hosts.probe import Probe
from tests.hosts.serving import serving_all_along
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from tests.hosts.stack import Stack


@pytest.fixture(scope="module")
def upstream(stack: Stack) -> Upstream:
    """Return the remote that the stack's checkout follows."""
    return Upstream(stack.host)


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
