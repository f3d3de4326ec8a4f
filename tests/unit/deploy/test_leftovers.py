"""The processes of a run are found by its mark and ended, with all their descendants."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

from deploy.actions import ACTIONS
from deploy.onhost import leftovers
from tests.controller.checkout import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.onhost.leftovers import Process

# Two generations in sessions of their own; init adopts the younger one.
FAMILY = "setsid sh -c 'echo $$; exec sleep 60' & wait; exec sleep 60"
STUBBORN = "trap '' TERM; echo $$; while :; do sleep 60; done"


@pytest.fixture
def run_id() -> Iterator[str]:
    """Yield the id of a run; end all its processes afterwards."""
    name = uuid.uuid4().hex[:12]
    yield name
    leftovers.end(name, grace_seconds=0)


def start(run_id: str, script: str) -> tuple[subprocess.Popen[str], int]:
    """Start a marked shell, and return it with the number it printed once its children run."""
    process = subprocess.Popen(
        ["sh", "-c", script],
        env={**os.environ, leftovers.MARK: run_id},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    return process, int(process.stdout.readline())


def pids(processes: list[Process]) -> set[int]:
    return {one.pid for one in processes}


def test_every_generation_of_a_run_is_ended_and_nothing_else(run_id: str) -> None:
    process, younger = start(run_id, FAMILY)
    other, _ = start(f"{run_id}x", "echo $$; exec sleep 60")
    assert pids(leftovers.of_run(run_id)) == {process.pid, younger}
    assert pids(leftovers.end(run_id)) == {process.pid, younger}
    assert leftovers.of_run(run_id) == []
    assert leftovers.started(younger) is None
    assert other.poll() is None
    leftovers.end(f"{run_id}x")
    assert (process.wait(), other.wait()) == (-15, -15)


def test_what_ignores_a_term_is_killed_after_the_grace(run_id: str) -> None:
    process, _ = start(run_id, STUBBORN)
    ended = leftovers.end(run_id, grace_seconds=0.2)
    assert process.pid in pids(ended)
    assert process.wait() == -9
    assert leftovers.of_run(run_id) == []


def test_a_run_that_left_nothing(run_id: str) -> None:
    assert leftovers.end(run_id) == []


def test_a_process_is_known_by_its_start_and_a_zombie_is_gone(run_id: str) -> None:
    process, number = start(run_id, "echo $$; exec sleep 60")
    first = leftovers.started(number)
    assert first is not None
    assert first == leftovers.started(number)
    process.kill()
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)  # ended, and nobody has reaped it
    assert leftovers.started(number) is None
    process.wait()


def test_what_cannot_be_ended_is_named(run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that sleeps in the kernel; simulated by one that no signal reaches."""
    _, number = start(run_id, "echo $$; exec sleep 60")
    with monkeypatch.context() as patched:
        patched.setattr("signal.pidfd_send_signal", lambda *_: None)
        patched.setattr(leftovers, "GIVE_UP_SECONDS", 0.3)
        with pytest.raises(leftovers.LeftoverError, match=rf"sleep 60 \({number}\)"):
            leftovers.end(run_id, grace_seconds=0.1)


def test_every_play_of_a_flow_that_changes_something_marks_what_it_starts() -> None:
    """Over SSH nothing is inherited."""
    names = {action.playbook for action in ACTIONS if action.playbook and action.changes}
    variables = (REPOSITORY / "group_vars" / "all.yml").read_text("utf-8")
    assert f'run_environment:\n  {leftovers.MARK}: "{{{{ run_id ' in variables
    for name in sorted(filter(None, names)):
        play = (REPOSITORY / "playbooks" / name).read_text("utf-8")
        marked = re.findall(r'^  hosts: .*\n  environment: "\{\{ run_environment \}\}"\n', play, re.MULTILINE)
        assert len(marked) == play.count("  hosts: "), name
