"""Faults before or during a deployment: one clear message, the right exit code, the app continues to run.

Every test causes one fault on the same host, and undoes it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.hosts.checkout import SOURCE
from tests.hosts.serving import serving_all_along
from tests.hosts.stack import APP, Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def edited(stack: Stack, path: str, edit: Callable[[str], str]) -> Iterator[None]:
    """Change a file of the checkout; restore it with its mode afterwards."""
    file = f"{stack.project}/{path}"
    original = stack.host.read(file)
    mode = int(stack.host.run(f"stat --format %a {file}").require().stdout, base=8)
    stack.host.write(file, edit(original), mode=mode)
    try:
        yield
    finally:
        stack.host.write(file, original, mode=mode)


def _appended(line: str) -> Callable[[str], str]:
    return lambda text: f"{text}{line}\n"


def test_a_missing_dockerfile(stack: Stack) -> None:
    """Exit 3 before anything is touched; the message names the file."""
    with serving_all_along(stack):
        stack.host.run("mv Dockerfile /root/", folder=stack.project).require()
        try:
            result = stack.run_py("--quick")
        finally:
            stack.host.run("mv /root/Dockerfile .", folder=stack.project).require()
    assert result.code == 3
    assert "Dockerfile" in result.output


def test_a_port_in_use(stack: Stack) -> None:
    """Exit 3; the message names the port and its holder."""
    with serving_all_along(stack), edited(stack, ".env", _appended("SERVER_PORT=8081")):
        holder = stack.host.spawn("python3 -u -m http.server 8081")
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert "Serving" in holder.stdout.readline()
        try:
            result = stack.run_py("--quick")
        finally:
            stack.host.run(f"kill {pid}").require()
            holder.wait(timeout=30)
    assert result.code == 3
    assert "8081" in result.output
    assert "python3" in result.output


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("SERVER_PORT=8008", "PROMETHEUS_PORT"),
        *(
            pytest.param(
                line, "SERVER_PORT must be a whole number from 1 to 65535", marks=pytest.mark.exhaustive
            )
            for line in ("SERVER_PORT=8080-8081", "SERVER_PORT=abc")
        ),
        ("DATABASE_URL=postgresql://postgres:[@postgres/x", "DATABASE_URL"),
    ],
)
def test_a_value_with_which_nothing_could_start(stack: Stack, line: str, named: str) -> None:
    """Exit 3 before anything is stopped; the message names the variable and what is allowed."""
    with serving_all_along(stack), edited(stack, ".env", _appended(line)):
        result = stack.run_py("--quick")
    assert result.code == 3
    assert named in result.output


def test_an_unparsable_env_file(stack: Stack) -> None:
    """Exit 3; the message names the file and shows no secret (which `run_py` always checks)."""
    with serving_all_along(stack), edited(stack, ".env", _appended('LOG_LEVEL="never closed')):
        result = stack.run_py("--quick")
    assert result.code == 3
    assert ".env" in result.output


def test_a_wrong_value_in_the_env_file(stack: Stack) -> None:
    """Exit 5, found before the swap; the message names variable and value."""
    with serving_all_along(stack), edited(stack, ".env", _appended("WORKER_CONCURRENCY=many")):
        result = stack.run_py("--quick")
    assert result.code == 5
    assert "WORKER_CONCURRENCY" in result.output
    assert "many" in result.output


def test_a_failing_build(stack: Stack) -> None:
    """Exit 5; the message has the build's output."""
    broken = _appended("RUN echo this build breaks here && exit 9")
    with serving_all_along(stack), edited(stack, "Dockerfile", broken):
        result = stack.run_py("--quick")
    assert result.code == 5
    assert "this build breaks here" in result.output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--no-such-flag"], "--no-such-flag"),
        (["--quick", "--stop"], "--stop"),
        (["--status-only", "--install-docker"], "--install-docker"),
        (["--limit", "nowhere"], "nowhere"),
        (["--limit", "local,nowhere"], "nowhere"),
    ],
)
def test_a_wrong_command_line(stack: Stack, arguments: list[str], named: str) -> None:
    """Exit 2; the message names the word that is wrong."""
    with serving_all_along(stack):
        result = stack.run_py(*arguments)
    assert result.code == 2
    assert named in result.output


def test_a_second_checkout(stack: Stack) -> None:
    """Exit 3; the message names what belongs to the other checkout. A destruction adopts nothing."""
    second = Stack(stack.host, "/opt/second-checkout")
    stack.host.run(f"git clone --quiet {SOURCE} {second.project}").require()
    before = stack.containers(), stack.kept_rows()
    with serving_all_along(stack):
        quick = second.run_py("--quick")
        database = second.run_py("--db", "--yes")
        adopting = second.run_py("--db", "--yes", "--adopt")
    assert (quick.code, database.code, adopting.code) == (3, 3, 2)
    assert (stack.containers(), stack.kept_rows()) == before
    assert APP in quick.output
    assert "--adopt" in quick.output
    assert stack.project in database.output


def test_ctrl_c(stack: Stack) -> None:
    """Exit 130, soon; the stack continues to run."""
    with serving_all_along(stack):
        process = stack.host.spawn("python3 run.py --quick", folder=stack.project)
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert any("Look at the checkout" in line for line in process.stdout)
        stack.host.run(f"kill -INT {pid}").require()
        rest = process.stdout.read()
        assert process.wait(timeout=30) == 130
    assert "nterrupted" in rest


def test_a_dead_daemon(stack: Stack) -> None:
    """Exit 3 with the command that starts it; afterwards one flag restores everything."""
    with serving_all_along(stack):
        stack.host.run("kill -KILL $(cat /run/docker.pid)").require()
        result = stack.run_py("--quick")
    assert result.code == 3
    assert "dockerd" in result.output

    stack.run_py("--quick", "--install-docker").require()
    assert stack.settled_health()["status"] == "healthy"
