"""One host with the stack for all faults; after each fault its state is checked.

The checks cover the serving version (probed 20 times a second), the rows, the operator's four files (sha256
and mode) and local commits. They also cover the lock, left processes and containers, exit code and messages.
"""

from __future__ import annotations

import json
import re
import shlex
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import requests

from tests.hosts.docker import Result
from tests.hosts.probe import Probe
from tests.hosts.stack import DATABASE

if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Callable

    from tests.hosts.stack import Stack
    from tests.hosts.upstream import Upstream

FILES = (".env", "config/finviz_config.json", "config/webhook_config.json", "config/system_config.json")
MARK = "TRADING_SIGNAL_PROCESSOR_RUN"
ROWS = (
    "SELECT id, seq, status, reason, ticker, md5(body) FROM signals ORDER BY seq",
    "SELECT id, ticker, status, buys, opened_by, closed_by FROM positions ORDER BY id",
    "SELECT id, signal_id, outcome, ended_at FROM attempts ORDER BY id",
)
FLOW_SECONDS = 900.0
TERMINAL = """\
import os, pty, sys
step, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
seen = b""
while step.encode() not in seen:
    try:
        seen += os.read(terminal, 65536)
    except OSError:
        break
os.close(terminal)
print(seen.decode(errors="replace"))
if step.encode() not in seen:
    sys.exit("the step never came")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
UP_SECONDS = 20.0


@dataclass(frozen=True)
class Remains:
    """What an ended run must not leave."""

    locked: bool
    running: str  # processes and containers of a run


@dataclass(frozen=True)
class Seen:
    """The state that must survive, at one moment."""

    serves: str  # a version, or empty
    rows: tuple[tuple[tuple[str, ...], ...], ...] | None  # None: the database does not run
    files: str  # sha256 and mode of each
    head: str
    branch: str  # the operator's own commit, on a branch that no remote has
    edits: str  # the output of `git status`
    remains: Remains


@dataclass(frozen=True)
class Ended:
    """How one flow ended, and what the probe saw of it."""

    code: int
    output: str
    answered: int
    failed: int
    longest_gap: float


@dataclass(frozen=True)
class Trigger:
    """When to cause a fault: once a line with `step` appears. `deed` gets the controller's process, too."""

    step: str
    deed: Callable[[Bench, int], None]


@dataclass
class Bench:
    """The host, its stack, and the remote that it follows.

    `memory` stores what a fault needs later; `environment` is run.py's.
    """

    stack: Stack
    upstream: Upstream
    memory: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def sh(self, command: str, *, timeout: float = 120) -> str:
        """Run a shell command in the checkout; return its output. Raises unless it ends with 0."""
        return self.stack.host.run(command, folder=self.stack.project, timeout=timeout).require().stdout

    def seed(self) -> None:
        """Store new rows for a fault: a delivered buy, its position, and a rejected one."""
        for ticker in ("NVDA", "MSFT"):
            body = f'{{"ticker": "{ticker}", "action": "buy", "run": "{uuid.uuid4()}"}}'
            self.stack.outcome(self.stack.post(body.encode()).json()["signal_id"], within=30)

    def seen(self) -> Seen:
        """Return the current state of everything that must survive."""
        names = " ".join(FILES)
        return Seen(
            serves=self.serving(),
            rows=self._rows(),
            files=self.sh(f"sha256sum {names} 2>&1; stat --format '%n %a' {names} 2>&1; true"),
            head=self.sh("git rev-parse HEAD").strip(),
            branch=self.sh("git rev-parse ours").strip(),
            edits=self.sh("git status --porcelain"),
            remains=self.remains(),
        )

    def remains(self) -> Remains:
        """Return what a run has left; works during a fault, too."""
        return Remains(self.sh("test -e .run/lock && echo yes || true") != "", self._running())

    def target(self, flow: str) -> str:
        """Return the commit that a flow would deploy: the remote's, or the last good one."""
        if not flow.startswith("--rollback"):
            return self.upstream.tip
        record = json.loads(self.sh("cat .run/versions.json"))
        good = (one for one in record["versions"] if one["state"] == "good")
        return next((one["commit"] for one in good if one["version"] != record["current"]), "none")

    def serving(self) -> str:
        """Return the version that answers now; empty if none does."""
        try:
            answer = requests.get(self.stack.health_url, timeout=5)
        except requests.RequestException:
            return ""
        return str(answer.json()["version"]) if answer.status_code == 200 else ""

    def wait_for_service(self) -> str:
        """Wait until a version answers, and return it; empty after the time limit."""
        give_up = time.monotonic() + UP_SECONDS
        while not (version := self.serving()) and time.monotonic() < give_up:
            time.sleep(0.2)
        return version

    def resume(self) -> None:
        """End the pause that a restore leaves, as its operator does."""
        url = self.stack.health_url.replace("/health", "/admin/delivery/resume")
        token = self.stack.settings()["ADMIN_TOKEN"]
        requests.post(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).raise_for_status()

    def play(self, arguments: str, trigger: Trigger | None = None) -> Ended:
        """Run `python3 run.py …` to any end, with the probe on."""
        with Probe(self.stack.health_url) as probe:
            if trigger is None:
                done = self.stack.run_py(arguments, timeout=FLOW_SECONDS, exported=self.environment)
            else:
                done = self._struck(arguments, trigger)
        return Ended(done.code, done.output, probe.answered, probe.failed, probe.longest_gap)

    def play_and_cut(self, arguments: str, event: str) -> Ended:
        """Run a flow until the power is cut at an event of the engine; then boot the host."""
        watcher = self.stack.host.cut_power_at(event)
        ended = self.play(arguments)
        watcher.wait(timeout=60)
        self.stack.host.boot()
        return ended

    def play_on_a_terminal(self, arguments: str, step: str) -> Ended:
        """Run `python3 run.py …` on a terminal that closes as soon as a line with `step` appears."""
        self.stack.host.write("/root/terminal.py", TERMINAL)
        with Probe(self.stack.health_url) as probe:
            done = self.stack.host.run(
                f"python3 /root/terminal.py {shlex.quote(step)} python3 run.py {arguments}",
                folder=self.stack.project,
                timeout=FLOW_SECONDS,
            )
        return Ended(done.code, done.output, probe.answered, probe.failed, probe.longest_gap)

    def _struck(self, arguments: str, trigger: Trigger) -> Result:
        started = time.monotonic()
        environment = " ".join(shlex.quote(f"{name}={value}") for name, value in self.environment.items())
        command = f"env {environment} python3 run.py {arguments}"
        process = self.stack.host.spawn(command, folder=self.stack.project)
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        said, struck = "", False
        for line in process.stdout:
            said += line
            if not struck and trigger.step in line:
                struck = True
                trigger.deed(self, pid)
        code = _code(process)
        assert struck, f"the step '{trigger.step}' never came:\n{said}"
        return Result(arguments, code, said, "", time.monotonic() - started)

    def _rows(self) -> tuple[tuple[tuple[str, ...], ...], ...] | None:
        running = self.sh(f"docker ps --quiet --filter name='^{DATABASE}$' 2>/dev/null || true")
        if not running:
            return None
        return tuple(tuple(map(tuple, self.stack.sql(statement))) for statement in ROWS)

    def _running(self) -> str:
        """Return the commands of marked processes, and the names of a flow's containers."""
        marked = self.sh(f"grep -lsz '^{MARK}=' /proc/[0-9]*/environ || true")
        commands = [
            self.sh(f"tr '\\0' ' ' </proc/{pid}/cmdline 2>/dev/null || true").strip()
            for pid in re.findall(r"/proc/(\d+)/", marked)
        ]
        containers = self.sh(
            "docker ps --all --format '{{.Names}}' --filter label=com.docker.compose.oneoff=True || true"
        ).split()
        return ", ".join([*filter(None, commands), *containers])


def _code(process: subprocess.Popen[str]) -> int:
    """Return the exit code as a shell reports it."""
    code = process.wait(timeout=60)
    return 128 - code if code < 0 else code


def strike(number: signal.Signals) -> Callable[[Bench, int], None]:
    """Return a deed that sends a signal to the controller."""

    def deed(bench: Bench, pid: int) -> None:
        bench.sh(f"kill -{int(number)} {pid}")

    return deed
