"""Ansible's event stream → the state of a run. Pure: no clock, no I/O; the events carry their own times.

Every event is a dict as ansible-runner delivers it: `event`, `created` (ISO 8601), `stdout`, and `event_data`
with `play`, `task`, `role`, `host`, `res`, `duration` (seconds).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PRECONDITIONS = "Preconditions"  # the play in which a failure means that nothing was changed
FETCH = "Fetch"  # asks a remote: a failure there fails the flow, and nothing was changed either
LOCK = "Lock"  # all hosts' locks, before anything else
LEASE = "Lease"  # no play: the lock was lost while the run was at work
BUILD = "Build"  # images, while the app runs: a failure there fails the flow, and nothing was changed either
HARMLESS = frozenset({PRECONDITIONS, FETCH, LOCK, BUILD})
REPORT_FACT = "host_report"
_DETAIL_LINES = 12  # of a failed command's own words
_NOTES = 20

# Steps that only steer the playbook; shown with -v, or when they fail.
_BOOKKEEPING = frozenset(
    {
        "assert",
        "debug",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "include_vars",
        "meta",
        "set_fact",
        "validate_argument_spec",
    }
)


class Status(StrEnum):
    """How a step ended on a host."""

    OK = "ok"
    CHANGED = "changed"
    SKIPPED = "skipped"
    IGNORED = "ignored"  # failed, and the playbook says that this may happen
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Step:
    """One finished step on one host; `bookkeeping` steps are not worth a line when they went well."""

    host: str
    play: str
    name: str
    status: Status
    seconds: float
    bookkeeping: bool = False


@dataclass(frozen=True)
class Running:
    """A step under way since `since` (seconds of the epoch)."""

    host: str
    name: str
    since: float


@dataclass(frozen=True)
class Failure:
    """What ended a host's run: `message` for the operator, `detail` the program's own last lines."""

    play: str
    step: str
    message: str
    detail: tuple[str, ...] = ()
    unreachable: bool = False

    @property
    def first_line(self) -> str:
        """The first line of its message."""
        return self.message.partition("\n")[0]


@dataclass
class HostState:
    """All that is known of one host."""

    name: str
    report: dict[str, Any] = field(default_factory=dict)  # merged `host_report` facts
    failure: Failure | None = None
    running: Running | None = None
    plays: list[str] = field(default_factory=list)  # plays in which a step of it began
    finished: list[str] = field(default_factory=list)  # of those, the ones that came to their end
    seconds: float = 0.0  # spent in steps
    notes: list[str] = field(default_factory=list)  # the controller's own, before those of the report
    earlier: list[Failure] = field(default_factory=list)  # failures before `failure`, first one first

    def fail(self, failure: Failure) -> None:
        """Note a failure. One that another failure followed, in a rescue for example, stays known."""
        if self.failure:
            self.earlier.append(self.failure)
        self.failure = failure

    def apply_diagnosis(self, found: Mapping[str, Any]) -> None:
        """Replace what a failed flow had reported by what its diagnosis found: nothing, where that failed."""
        own_log = self.report.get("log")  # the flow knows better which container failed
        self.report.update({"serving": None, "health": None, "version": None, **found})
        self.report["log"] = own_log or self.report.get("log")

    @property
    def warnings(self) -> list[str]:
        """What the operator should know before the flow: the controller's own notes, then its playbook's."""
        return [*self.notes, *(self.report.get("warnings") or [])]

    @property
    def failures(self) -> list[Failure]:
        """The first failure, then those that followed and do not quote it."""
        if not self.failure:
            return []
        unsaid = [one for one in self.earlier if one.first_line not in self.failure.message]
        return [*unsaid, self.failure]

    @property
    def touched(self) -> bool:
        """Whether a play that may change something began here."""
        return not HARMLESS.issuperset(self.plays)


class RunState:
    """Hosts and their steps, fed by `apply`. `hosts` are those the run is for, as far as they are known."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.hosts = {name: HostState(name) for name in hosts}
        self.steps: list[Step] = []
        self.play = ""
        self.notes: list[str] = []  # what Ansible said outside of any step, last lines
        self._in_play: set[str] = set()  # hosts with a step in the present play (batch)

    def expect(self, hosts: Iterable[str]) -> None:
        """Hosts the run is for, also if no event ever names them."""
        for name in hosts:
            self.hosts.setdefault(name, HostState(name))

    @property
    def failed(self) -> list[HostState]:
        """Hosts whose run ended in a failure, unreachable ones included."""
        return [host for host in self.hosts.values() if host.failure]

    def apply(self, event: dict[str, Any]) -> Step | None:
        """Take one event in; the step it finished, if it finished one. Unknown events change nothing."""
        kind, data = event.get("event", ""), event.get("event_data") or {}
        if kind == "playbook_on_play_start":
            self._close_play()
            self.play = str(data.get("name") or data.get("play") or "")
        elif kind == "runner_on_start":
            self._start(data, event)
        elif kind == "playbook_on_stats":
            self._settle(data)
        elif kind in _ENDINGS:
            return self._finish(data, _ending(kind, data))
        elif kind in {"error", "verbose", "warning"}:
            self.notes = [*self.notes, *str(event.get("stdout", "")).splitlines()][-_NOTES:]
        return None

    def _start(self, data: dict[str, Any], event: dict[str, Any]) -> None:
        host = self._host(data)
        host.running = Running(host.name, _step_name(data), _epoch(event.get("created")))
        if self.play not in host.plays:
            host.plays.append(self.play)
        self._in_play.add(host.name)

    def _finish(self, data: dict[str, Any], status: Status) -> Step:
        host = self._host(data)
        result = data.get("res") or {}
        step = Step(
            host=host.name,
            play=self.play,
            name=_step_name(data),
            status=status,
            seconds=float(data.get("duration") or 0.0),
            bookkeeping=str(data.get("task_action", "")).rpartition(".")[2] in _BOOKKEEPING,
        )
        self.steps.append(step)
        host.running = None
        host.seconds += step.seconds
        for one in (result, *_items(result)):
            report = (one.get("ansible_facts") or {}).get(REPORT_FACT)
            if isinstance(report, dict):
                host.report.update(report)
        if status in {Status.FAILED, Status.UNREACHABLE}:
            message, detail = explain(result)
            host.fail(Failure(self.play, step.name, message, detail, status is Status.UNREACHABLE))
        return step

    def _settle(self, stats: dict[str, Any]) -> None:
        """The recap knows which failures were rescued; without it (an interrupted run) a failure counts."""
        for host in self.hosts.values():
            host.running = None
            if not (stats.get("failures", {}).get(host.name) or stats.get("dark", {}).get(host.name)):
                host.failure = None
                host.earlier.clear()
        if self.play not in {host.failure.play for host in self.hosts.values() if host.failure}:
            self._close_play()

    def _close_play(self) -> None:
        """The play (or batch) came to its end. A failure in it may yet turn out to be a rescued one."""
        for name in self._in_play:
            host = self.hosts[name]
            if self.play not in host.finished:
                host.finished.append(self.play)
        self._in_play.clear()

    def _host(self, data: dict[str, Any]) -> HostState:
        name = str(data.get("host", ""))
        return self.hosts.setdefault(name, HostState(name))


_ENDINGS = {
    "runner_on_ok": Status.OK,
    "runner_on_skipped": Status.SKIPPED,
    "runner_on_failed": Status.FAILED,
    "runner_on_unreachable": Status.UNREACHABLE,
}


def _ending(kind: str, data: dict[str, Any]) -> Status:
    status = _ENDINGS[kind]
    if status is Status.FAILED and data.get("ignore_errors"):
        return Status.IGNORED
    if status is Status.OK and (data.get("res") or {}).get("changed"):
        return Status.CHANGED
    return status


def _step_name(data: dict[str, Any]) -> str:
    """`role: task`, or the task alone outside of a role."""
    task = str(data.get("task") or data.get("task_action") or "step")
    role = str(data.get("role") or "").rstrip("/").rpartition("/")[2]
    return f"{role}: {task}" if role and not task.startswith(f"{role} : ") else task.replace(" : ", ": ", 1)


def _items(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in result.get("results") or [] if isinstance(item, dict)]


def explain(result: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Why a step failed: its message, and the last lines of what the program wrote (empty under `no_log`)."""
    failed = next((item for item in _items(result) if item.get("failed") or item.get("unreachable")), None)
    if failed is not None:
        result = failed
    if "censored" in result:
        return "no details: they may hold a secret (no_log)", ()
    message = str(result.get("msg") or result.get("reason") or "no reason given").strip()
    message = message.removeprefix("Task failed: ")
    written = str(result.get("stderr") or result.get("module_stderr") or result.get("stdout") or "").strip()
    detail = tuple(line.rstrip() for line in written.splitlines()[-_DETAIL_LINES:] if line.strip())
    detail = tuple(line for line in detail if line not in message)
    if "rc" in result and "non-zero return code" in message:  # a rescue that quotes it keeps its own words
        command = result.get("cmd") or "the command"
        words = (" ".join(map(str, command)) if isinstance(command, list) else str(command)).splitlines()
        message = f"`{words[0]}{' …' if len(words) > 1 else ''}` ended with exit code {result.get('rc')}"
    return message, detail


def _epoch(created: str | None) -> float:
    if not created:
        return 0.0
    moment = datetime.fromisoformat(created)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
