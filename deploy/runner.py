"""Runs one playbook through ansible-runner: the only module that touches it.

What ansible-runner would do by itself and must not here: kill the child on cancel (no `always:` runs, orphans
stay), keep the environment and the events on disk, switch host key checking off, put extra variables on the
process list.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import ansible_runner

from deploy.onhost import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType, TracebackType

GRACE_SECONDS = 20.0  # from the first signal until the child is killed; a second signal kills at once
KILLED = 254  # as ansible-runner says of what it kills itself
_HEARD_SECONDS = 1.0  # who begins a step so long after a signal has not heard it
_POLL_SECONDS = 0.2  # how often ansible-runner looks whether it is cancelled
_BESIDE_SECONDS = 60.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Event = dict[str, Any]


@dataclass(frozen=True)
class PlaybookRun:
    """What to run, for which run: absolute paths, a checked limit, a writer of `-e` arguments to a folder."""

    root: Path
    playbook: Path
    inventories: Sequence[str]
    limit: str
    extra_vars: Callable[[Path], list[str]]
    run_id: str  # marks its processes; empty for a playbook that ends those of others
    forks: int | None = None
    verbosity: int = 0
    skip_tags: tuple[str, ...] = ()
    options: tuple[str, ...] = ()  # of ansible-playbook, as its own

    def command(self, private: Path) -> list[str]:
        """The exact argv. `python -m ansible` because scripts' first lines are no part of what we rely on."""
        argv = [sys.executable, "-m", "ansible", "playbook"]
        for source in self.inventories:
            argv += ["-i", source]
        argv += ["--limit", self.limit, *self.options, *self.extra_vars(private)]
        if self.forks:
            argv += ["--forks", str(self.forks)]
        if self.skip_tags:
            argv += ["--skip-tags", ",".join(self.skip_tags)]
        if self.verbosity > 1:  # the first -v is the report's own
            argv.append("-" + "v" * (self.verbosity - 1))
        return [*argv, str(self.playbook)]


class Interruption:
    """Ctrl-C and TERM while playbooks run: passed to Ansible as SIGINT, which ends its workers in order.

    A HUP is no wish for an end: the terminal went away, and a run needs none.

    Ansible raises an exception in its handler, and Python drops those in a few places (after a fork, in a
    destructor): where a step begins all the same, it gets the signal again.

    A context manager around all playbooks of a run; the previous handlers come back when it ends. `requested`
    stays set, so that later code knows that the operator wanted an end.
    """

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self.requested = False
        self.lost = False  # the run's own wish: it has lost a lock
        self._grace = grace_seconds
        self._deadline = 0.0  # monotonic; 0 while nobody asked for an end
        self._signalled = 0.0  # monotonic; when the child last got the signal
        self._child: int | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        self._previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def renew(self) -> None:
        """Allow one more playbook after an interruption: the look at what still serves."""
        self._deadline = 0.0

    def lose(self) -> None:
        """End what plays, in order, because this run may not change anything any more. From any thread."""
        self.lost = True
        self._end_soon()

    def expect_child(self) -> None:
        """A playbook is about to start; the one before has ended."""
        self._child = None

    def watch(self, event: Event) -> None:
        """Remember the process that plays, whose events carry the id, and see that it has heard a signal."""
        if self._child is None and isinstance(event.get("pid"), int):
            self._child = event["pid"]
        begins = event.get("event") == "playbook_on_task_start"
        if begins and self._deadline and time.monotonic() > self._signalled + _HEARD_SECONDS:
            self._tell()

    def must_kill(self) -> bool:
        """For ansible-runner: whether to kill now. Ends the workers too; they have sessions of their own."""
        if not self._deadline or (self._child is not None and time.monotonic() < self._deadline):
            return False
        if self._child is not None:
            for pid in descendants(self._child):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        self._end_soon()

    def _end_soon(self) -> None:
        now = time.monotonic()
        self._deadline = now if self._deadline else now + self._grace
        self._tell()

    def _tell(self) -> None:
        self._signalled = time.monotonic()
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGINT)


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, by one `ps`; nearest first."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False
    ).stdout
    children: dict[int, list[int]] = {}
    for line in listing.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def run(job: PlaybookRun, on_event: Callable[[Event], object], interruption: Interruption) -> int:
    """Play `job`; every event goes to `on_event` as it happens. Returns Ansible's status (254: killed).

    An exception in `on_event` cannot disturb the playbook; the first one is raised when it has ended.
    Nothing of the run stays on disk, and no process of one that did not come to its end outlives it.
    """
    failures: list[Exception] = []

    def handle(event: Event) -> bool:
        interruption.watch(event)
        try:
            on_event(event)
        except Exception as error:  # noqa: BLE001 - the pump of a running deployment must not stop for the display
            failures.append(error)
        return False  # keep the event off the disk

    private = Path(tempfile.mkdtemp(prefix="trading-signal-processor-"))  # 0700
    try:
        interruption.expect_child()
        runner = ansible_runner.Runner(
            config=_config(job, private),
            event_handler=handle,
            status_handler=_forget_environment,
            cancel_callback=interruption.must_kill,
        )
        runner.run()
    finally:
        shutil.rmtree(private, ignore_errors=True)
    # None: ended by a signal, ours where Ansible does not catch it, or the kernel's for want of memory
    status = KILLED if runner.rc is None else int(runner.rc)
    if job.run_id and (status or interruption.requested):
        leftovers.end(job.run_id)
    if failures:
        raise failures[0]
    return status


def run_beside(job: PlaybookRun) -> dict[str, dict[str, Any]]:
    """Play a short `job` while another one runs: no signal is meant for it.

    Returns the result of the last step on each host that came to one. Raises OSError.
    """
    private = Path(tempfile.mkdtemp(prefix="trading-signal-processor-"))
    environ = {**os.environ, **_settings(job.root), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    try:
        done = subprocess.run(
            job.command(private),
            env=environ,
            cwd=job.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            timeout=_BESIDE_SECONDS,
            check=False,
        )
        plays = json.loads(done.stdout)["plays"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return {}
    finally:
        shutil.rmtree(private, ignore_errors=True)
    results: dict[str, dict[str, Any]] = {}
    for task in (task for play in plays for task in play["tasks"]):
        results.update(task["hosts"])
    return results


def _config(job: PlaybookRun, private: Path) -> ansible_runner.RunnerConfig:
    settings = private / "env" / "settings"
    settings.parent.mkdir()
    # Given as an argument these would be dropped by ansible-runner when this file is missing.
    settings.write_text(
        json.dumps(
            {"pexpect_timeout": _POLL_SECONDS, "suppress_ansible_output": True, "suppress_output_file": True}
        ),
        "utf-8",
    )
    config = ansible_runner.RunnerConfig(
        private_data_dir=str(private),
        project_dir=str(job.root),
        playbook=str(job.playbook),
        fact_cache_type="memory",
        suppress_env_files=True,
        envvars={**_settings(job.root), **({leftovers.MARK: job.run_id} if job.run_id else {})},
    )
    config.prepare()
    config.command = job.command(private)
    return config


def _settings(root: Path) -> dict[str, str]:
    """Return the variables that configure Ansible; the checkout's ansible.cfg has the rest."""
    return {
        "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_FORCE_COLOR": "False",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_STDOUT_CALLBACK": "default",
    }


def _forget_environment(status: dict[str, Any], runner_config: ansible_runner.RunnerConfig) -> None:
    """Remove the file in which ansible-runner keeps the whole environment, as soon as it has written it."""
    if status["status"] == "running":
        (Path(runner_config.artifact_dir) / "command").unlink()
