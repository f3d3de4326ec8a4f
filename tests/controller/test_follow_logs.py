"""`--follow-logs`: the stream itself, with a `docker` that is a shell script."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controller.checkout import Checkout


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `docker` first on PATH whose state and log the test writes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "docker"
    script.write_text(
        f"""#!/bin/sh
        case "$1 $2" in
        "container inspect")
            cat {tmp_path}/state 2>/dev/null || {{ echo "No such container: $5" >&2; exit 1; }};;
        logs*) echo '{{"event": "started", "token": "token-of-the-admin"}}'; exec sleep ${{LOG_LASTS:-60}};;
        esac
        """,
        "utf-8",
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return tmp_path / "state"


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_the_log_is_followed_until_ctrl_c(
    checkout: Checkout, fake_docker: Path, signal_number: signal.Signals
) -> None:
    fake_docker.write_text("running\n", "utf-8")
    (checkout.root / ".env").write_text("ADMIN_TOKEN=token-of-the-admin\n", "utf-8")
    with checkout.start("--follow-logs", "--limit", "web") as process:
        assert process.stdout
        lines = sorted(next(process.stdout) for _ in range(2))
        process.send_signal(signal_number)
        _, err = process.communicate(timeout=30)
    assert lines == [
        'a | {"event": "started", "token": "********"}\n',
        'b | {"event": "started", "token": "********"}\n',
    ]
    assert process.returncode == 0
    assert err == ""


def test_an_app_that_does_not_run_is_named_with_the_flag_that_starts_it(
    checkout: Checkout, fake_docker: Path
) -> None:
    done = checkout.run("--follow-logs")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "here: the app does not run (there is no container). "
        "Start it with: python3 run.py --quick --limit here\n"
    )
    fake_docker.write_text("exited\n", "utf-8")
    assert "the app does not run (exited)" in checkout.run("--follow-logs").stderr


def test_the_end_of_a_log_is_explained(
    checkout: Checkout, fake_docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_docker.write_text("running\n", "utf-8")
    monkeypatch.setenv("LOG_LASTS", "0")
    done = checkout.run("--follow-logs")
    assert done.returncode == 0
    assert "the container was stopped or replaced" in done.stderr


def test_a_log_cannot_steer_the_terminal(
    checkout: Checkout, fake_docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_docker.write_text("running\n", "utf-8")
    monkeypatch.setenv("LOG_LASTS", "0")
    script = fake_docker.parent / "bin" / "docker"
    script.write_text(
        script.read_text("utf-8").replace(
            "exec sleep", r"printf '\033[2J\302\2332J\342\200\256x\rz\n'; exec sleep"
        )
    )
    out = checkout.run("--follow-logs").stdout
    assert out.splitlines()[-1] == r"\u001b[2J\u009b2J\u202ex\u000dz"


def test_a_host_that_does_not_answer(checkout: Checkout) -> None:
    done = checkout.run("--follow-logs", "--limit", "dead")
    assert done.returncode == 4
    assert "dead: cannot be reached: ssh: connect to host 127.0.0.1 port 1: Connection refused" in done.stderr


def test_a_reader_that_ends_is_not_an_error(
    checkout: Checkout, fake_docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run.py --follow-logs | head -0`: without a reader the run ends as usual."""
    fake_docker.write_text("running\n", "utf-8")
    monkeypatch.setenv("LOG_LASTS", "0")
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as pipe, checkout.start("--follow-logs", stdout=pipe) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "BrokenPipe" not in err
