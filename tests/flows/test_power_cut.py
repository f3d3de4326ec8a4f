"""A power cut in the middle of a flow: after the boot the machine serves, and names the interrupted run."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.hosts.stack import APP
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from tests.hosts.stack import Stack

pytestmark = pytest.mark.minutes(2)

UP_SECONDS = 90.0


@pytest.fixture(scope="module")
def upstream(stack: Stack) -> Upstream:
    """The remote that the stack's checkout follows."""
    return Upstream(stack.host)


def served(stack: Stack) -> str:
    """Return the version that answers after the boot, without help; empty if none does."""
    give_up = time.monotonic() + UP_SECONDS
    while time.monotonic() < give_up:
        try:
            answer = requests.get(stack.health_url, timeout=5)
        except requests.RequestException:
            continue
        if answer.status_code == 200:
            return str(answer.json()["version"])
    return ""


def cut_off(stack: Stack, flow: str, event: str) -> str:
    """Run a flow, cut the power at an event of its engine, and boot; return the version that serves."""
    watcher = stack.host.cut_power_at(event)
    result = stack.host.run(f"python3 run.py {flow}", folder=stack.project, timeout=600)
    watcher.wait(timeout=60)
    assert result.code == 137, f"the power was not cut at '{event}':\n{result.output}"
    stack.host.boot()
    return served(stack)


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(f"die {APP}", id="the old one has stopped", marks=pytest.mark.exhaustive),
        pytest.param(f"start {APP}-standin", id="the stand-in has started", marks=pytest.mark.exhaustive),
        pytest.param(f"destroy {APP}", id="the old one is gone"),
    ],
)
def test_an_interrupted_swap_leaves_a_container_that_starts_after_the_boot(
    stack: Stack, upstream: Upstream, event: str
) -> None:
    """The stand-in, or the old one; a repetition completes the update."""
    before = stack.health()["version"]
    commit = upstream.push({"app/news.txt": f"{event}\n"})
    assert cut_off(stack, "--quickupdate", event) in {before, commit[:12]}

    status = stack.run_py("--status-only").require()
    assert "CUT OFF: --quickupdate" in status.output
    again = stack.run_py("--quickupdate").require()
    assert "took over the lock of --quickupdate" in again.output
    assert stack.health()["version"] == commit[:12]
    names = stack.host.run("docker ps --all --format '{{.Names}}'").require().stdout.split()
    assert sorted(names) == ["trading-db", "trading-edge", APP]
    form = "{{.HostConfig.RestartPolicy.Name}}"
    policy = stack.host.run(f"docker inspect --format '{form}' {APP}").require().stdout.strip()
    assert policy == "unless-stopped"
    containers = stack.containers()
    stack.run_py("--quick").require()  # compose recognises the container as its own
    assert stack.containers() == containers
    assert "CUT OFF" not in stack.run_py("--status-only").require().output


@pytest.mark.exhaustive
def test_an_app_stopped_for_a_dump_restarts(stack: Stack) -> None:
    """Nothing was destroyed yet."""
    before = stack.health()["version"]
    assert cut_off(stack, "--db --yes", f"die {APP}") == before
    last = json.loads(stack.run_py("--status-only", "--json").require().stdout)["hosts"]["localhost"]
    assert (last["unfinished"]["flow"], last["unfinished"]["running"]) == ("db", False)
    stack.run_py("--db", "--yes").require()
    assert stack.health()["version"] == before
