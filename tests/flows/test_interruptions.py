"""Killed runs and concurrent runs on a real host: the messages, and what is left."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.hosts.probe import Probe
from tests.hosts.stack import STANDIN
from tests.hosts.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from tests.hosts.stack import Stack

MARK = "TRADING_SIGNAL_PROCESSOR_RUN"
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
