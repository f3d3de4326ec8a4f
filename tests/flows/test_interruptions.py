"""Killed runs, concurrent runs and power cuts on a real host: the messages, and what is left.

After the boot the machine serves, and names the run that was interrupted.
"""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.hosts.probe import Probe
from tests.hosts.stack import APP, STANDIN
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from tests.hosts.stack import Stack

pytestmark = pytest.mark.minutes(6)

MARK = "TRADING_SIGNAL_PROCESSOR_RUN"
UP_SECONDS = 90.0  # after a boot
LOCKED_SECONDS = 15.0  # the limit is three; busy machines get five times that


@pytest.fixture(scope="module")
def upstream(stack: Stack) -> Upstream:
    """The remote that the stack's checkout follows."""
    return Upstream(stack.host)


class Running:
    """A flow as a process, read line by line."""

    def __init__(self, stack: Stack, *arguments: str) -> None:
        self._stack = stack
        command = " ".join(["python3 run.py", *arguments])
        self._process: Popen[str] = stack.host.spawn(command, folder=stack.project)
        assert self._process.stdout is not None
        self.pid = int(self._process.stdout.readline())
        self.said = ""

    def until(self, step: str) -> None:
        """Wait until this step has ended."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said += line
            if step in line:
                return
        raise AssertionError(f"the step '{step}' never came:\n{self.said}")

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and wait for the end; return the exit code as a shell reports it."""
        self._stack.host.run(f"kill -{int(number)} {self.pid}").require()
        assert self._process.stdout is not None
        self.said += self._process.stdout.read()
        return self._process.wait(timeout=90)


def _left(stack: Stack) -> str:
    """Return marked processes and one-off containers."""
    found = stack.host.run(
        f"grep -lsz '^{MARK}=' /proc/[0-9]*/environ;"
        " docker ps --all --format '{{.Names}}' --filter label=com.docker.compose.oneoff=True"
    )
    return found.stdout


def _version(stack: Stack) -> str:
    return str(stack.health()["version"])


@pytest.fixture
def secrets(stack: Stack) -> Iterator[list[str]]:
    """Yield values that may only be in `.env` and the containers' environment; check that afterwards."""
    settings = stack.settings()
    values = [settings[name] for name in ("POSTGRES_PASSWORD", "ADMIN_TOKEN", "WEBHOOK_SECRET")]
    yield values
    stack.host.write("/root/secrets", "\n".join(values) + "\n", mode=0o600)
    # While the engine starts an exec (a health check), `runc-process*` holds its environment, not ours.
    options = "--recursive --files-with-matches --fixed-strings --exclude='runc-process*'"
    search = f"grep {options} --file /root/secrets"
    assert stack.host.run(f"{search} .run logs /tmp", folder=stack.project).stdout == ""
    names = stack.host.run("docker images --format '{{.ID}}' trading-signal-processor").stdout.split()
    for name in names:
        command = f"(docker history --no-trunc {name}; docker image inspect {name})"
        shown = stack.host.run(f"{command} | grep --fixed-strings --file /root/secrets").stdout
        assert shown == ""


def test_two_runs_at_once_and_the_first_is_killed(
    stack: Stack, upstream: Upstream, secrets: list[str]
) -> None:
    """The second ends 7 and names the first; after `kill -9` the next one takes over and completes it."""
    commit = upstream.push({"app/news.txt": "killed\n"})
    with Probe(stack.health_url) as probe:
        first = Running(stack, "--update")
        first.until("Back up the configuration")  # the build is running
        started = time.monotonic()
        second = stack.run_py("--quick", "--json")
        assert time.monotonic() - started < LOCKED_SECONDS
        listed = stack.host.run("ps -ww -A -o args").stdout
        assert first.end(signal.SIGKILL) == 137
    assert second.code == 7
    document = json.loads(second.stdout)
    assert document["hosts"]["localhost"]["holder"]["pid"] == first.pid
    assert "--update" in document["hosts"]["localhost"]["failure"]["message"]
    assert " -m ansible playbook " in listed
    assert not [value for value in secrets if value in listed]
    assert probe.failed == 0

    third = stack.run_py("--quickupdate").require()
    assert "took over the lock of --update" in third.output
    assert _left(stack) == ""
    assert _version(stack) == commit[:12]
    assert stack.host.run("ls .run", folder=stack.project).stdout.split().count("lock") == 0

    history = stack.run_py("--history").require().output
    assert "interrupted: its end is not known" in history
    assert f"→ {commit[:12]}  done (0, " in history
    runs = json.loads(stack.run_py("--history", "--json").require().stdout)["hosts"]["localhost"]["history"]
    (killed,) = (run for run in runs if run["exit_code"] is None)
    assert {"Image", "Checkout"} <= {step["step"] for step in killed["plan"]}


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.exhaustive)]
)
def test_an_update_that_ends_between_stop_and_start_is_completed_by_a_repetition(
    stack: Stack, upstream: Upstream, number: signal.Signals
) -> None:
    """Any version may serve right afterwards; then the state is as without the interruption."""
    commit = upstream.push({"app/news.txt": f"{number.name}\n"})
    files = stack.host.run("sha256sum .env config/*.json", folder=stack.project).stdout
    run = Running(stack, "--quickupdate")
    run.until("Send requests to the stand-in")
    assert run.end(number) == (137 if number is signal.SIGKILL else 130)
    if number is signal.SIGTERM:
        assert "interrupted" in run.said
        assert _left(stack).split() in ([], [STANDIN])  # it stays where only it serves
    stack.run_py("--quickupdate").require()
    assert (_version(stack), _left(stack)) == (commit[:12], "")
    assert stack.host.run("git rev-parse HEAD", folder=stack.project).stdout.strip() == commit
    assert stack.host.run("sha256sum .env config/*.json", folder=stack.project).stdout == files


def test_a_killed_stand_in_leaves_no_container_next_to_the_app(stack: Stack, upstream: Upstream) -> None:
    """The run that takes over removes its container, also in a flow without a stand-in."""
    before = _version(stack)
    with upstream.offering({"app/news.txt": "rehearsed\n"}), Probe(stack.health_url) as probe:
        run = Running(stack, "--quickupdate")
        run.until("Start the stand-in")
        run.end(signal.SIGKILL)
        done = stack.run_py("--quick").require()
    assert "took over the lock of --quickupdate" in done.output
    assert (_left(stack), _version(stack), probe.failed) == ("", before, 0)


def test_an_operators_own_containers_survive_a_failed_run(stack: Stack) -> None:
    """`docker compose run` by hand, and another checkout's stand-in: neither has this run's id."""
    query = "docker compose run --no-deps --detach --name my-query trading-signal-processor sleep 600"
    other = "docker run --detach --name trial --label trading-signal-processor.run=0123456789ab"
    labels = (
        "--label com.docker.compose.project=trading-signal-processor --label com.docker.compose.oneoff=True"
    )
    stack.host.run(query, folder=stack.project).require()
    stack.host.run(f"{other} {labels} trading-signal-processor:latest sleep 600").require()
    try:
        run = Running(stack, "--quick")
        run.until("Quick deploy: ")
        assert run.end(signal.SIGTERM) == 130
        names = stack.host.run("docker ps --format '{{.Names}}'").require().stdout.split()
        assert {"my-query", "trial"} <= set(names)
    finally:
        stack.host.run("docker rm --force my-query trial").require()


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
