"""A signal reaches Ansible, also where Python drops the exception that its handler raises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deploy import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

# What Ansible does when Python drops the exception: the handler is reset, and it continues.
HARD_OF_HEARING = """\
import signal, time
def lost(number, frame):
    signal.signal(number, signal.SIG_DFL)
    print("lost", flush=True)
signal.signal(signal.SIGINT, lost)
print("ready", flush=True)
time.sleep(60)  # goes on after the signal
"""
BEGINS = {"event": "playbook_on_task_start"}


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HARD_OF_HEARING], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_step_begun_after_the_signal_gets_the_signal_again(
    child: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert child.stdout
    with runner.Interruption() as interruption:
        interruption.watch({"event": "playbook_on_start", "pid": child.pid})
        interruption.watch(BEGINS)
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        assert child.stdout.readline() == "lost\n"
        interruption.watch(BEGINS)  # what began before the signal may be known after it
        interruption.watch({"event": "runner_on_ok"})
        assert child.poll() is None
        monkeypatch.setattr(runner, "_HEARD_SECONDS", 0.0)
        interruption.watch({"event": "runner_on_ok"})
        assert child.poll() is None
        interruption.watch(BEGINS)
        assert child.wait(timeout=10) == -signal.SIGINT


def test_without_an_interruption_no_signal_is_sent(child: subprocess.Popen[str]) -> None:
    with runner.Interruption() as interruption:
        interruption.watch({"event": "playbook_on_start", "pid": child.pid})
        for _ in range(3):
            interruption.watch(BEGINS)
    assert child.poll() is None
