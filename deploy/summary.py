"""What the operator reads when a run has ended, and the document of `--json`. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploy import backups, history, hostkeys
from deploy.actions import DIAGNOSIS, UNLOCK
from deploy.exitcodes import ExitCode
from deploy.plan.flows import differences, make
from deploy.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deploy.events import Failure, HostState, RunState
    from deploy.plan.flows import Planned
    from deploy.request import Request
    from deploy.verdict import Verdict

SIGN_IN = "sign in with ADMIN_TOKEN from .env"
# What the document of --json says of a host, as the roles reported it (docs/architecture.md).
_REPORTED = (
    *("version", "health", "serving", "containers", "urls", "probe", "gap_ms", "certificate_days_left"),
    *("warnings", "log", "diagnosis", "diagnosis_file", "holder", "history", "unfinished", "config_backups"),
)


@dataclass(frozen=True)
class Ending:
    """All that is known when a flow has ended; `seconds` of wall time."""

    request: Request
    state: RunState
    verdict: Verdict
    seconds: float


def lines(ending: Ending, *, with_hint: bool = True) -> list[str]:
    """The summary, first line first: it says whether the stack still serves wherever that is in doubt.

    `with_hint`: it ends with what to type next.
    """
    found = [headline(ending), ""]
    for name, outcome in ending.verdict.outcomes.items():
        found += _host_lines(ending.state.hosts[name], outcome, ending)
    if ending.verdict.code is ExitCode.INTERNAL and not ending.state.failed:
        found += ["  Ansible said:", *(f"    {line}" for line in ending.state.notes if line.strip())]
    if with_hint and (hint := next_command(ending)):
        found += ["", f"Next: {hint}"]
    return found


def headline(ending: Ending) -> str:
    """One sentence for the whole run."""
    label, code = ending.request.action.label, ending.verdict.code
    down = ", ".join(_down(ending))
    took = f"{ending.seconds:.1f} s"
    lost = _lost(ending)
    if ending.request.action.name == "status" and code in {ExitCode.DONE, ExitCode.NOT_SERVING}:
        return f"Not serving: {down}." if down else "Serving."
    if ending.request.action.name == "history" and code is ExitCode.DONE:
        return "The last runs, newest first."
    if _is_listing(ending) and code is ExitCode.DONE:
        return "The configuration backups, newest first."
    if ending.request.action is UNLOCK and code is ExitCode.LOCKED:
        return "Unlock refused: the run that holds the lock is at work. Nothing was changed."
    sentences = {
        ExitCode.DONE: f"{label} would do this; nothing was touched."
        if ending.request.check
        else f"{label} done in {took}.",
        ExitCode.INTERNAL: f"{label} could not be carried out; nothing was changed.",
        ExitCode.PRECONDITION: f"{label} not possible: put something right first. Nothing was changed.",
        ExitCode.LOCKED: f"{label} not started: another run holds the lock. Nothing was changed.",
        ExitCode.UNREACHABLE: f"{label} failed after {took}: a host could not be reached."
        f"{lost or ' Nothing was changed there.'}",
        ExitCode.OLD_VERSION_SERVES: f"{label} FAILED after {took}; {_served(ending)}.{lost}",
        ExitCode.NOT_SERVING: f"{label} FAILED after {took}; {_trouble(ending)}.{lost}",
        ExitCode.INTERRUPTED: f"{label} interrupted after {took}. {_after_interruption(ending)}",
    }
    return sentences[code]


def next_command(ending: Ending) -> str:
    """What to type next; empty when nothing is left to do."""
    request, verdict = ending.request, ending.verdict
    again = command_line(request, verdict.left, everything=len(verdict.left) in {0, len(verdict.outcomes)})
    if verdict.code is ExitCode.DONE:
        return _after_success(ending, again)
    if verdict.code in {ExitCode.PRECONDITION, ExitCode.UNREACHABLE}:
        return f"put that right, then  {again}"
    if verdict.code is ExitCode.LOCKED:
        forced = f"{again} --yes  releases it all the same; that run is not stopped by it"
        return forced if request.action is UNLOCK else f"when that run has ended:  {again}"
    if verdict.code is ExitCode.NOT_SERVING and request.action.name == "status":
        return _after_status(ending)
    if verdict.code in {ExitCode.OLD_VERSION_SERVES, ExitCode.NOT_SERVING}:
        logs = f"python3 run.py --logs{_limit(request, verdict.left)}"
        return f"{logs}  shows more; when it is put right:  {again}"
    return again if verdict.code is ExitCode.INTERRUPTED and request.action.changes else ""


def _is_listing(ending: Ending) -> bool:
    """Whether the run was to show what the argument of its flag may be."""
    return bool(ending.request.action.lists) and not ending.request.action.changes


def _after_success(ending: Ending, again: str) -> str:
    """What a look at what would be done, or at what there is, was for."""
    if ending.request.check:
        return f"{again}  carries it out"
    if not _is_listing(ending):
        return ""
    limit = _limit(ending.request, list(ending.verdict.outcomes))
    return f"python3 run.py {ending.request.action.flags[0]} NAME{limit}  puts one back"


def _after_status(ending: Ending) -> str:
    """What lets clients in again where none is served."""
    down = _down(ending)
    is_maintained = all(ending.state.hosts[name].report.get("maintenance") for name in down)
    flag, what = ("--maintenance off", "ends maintenance") if is_maintained else ("--quick", "starts it")
    return f"python3 run.py {flag}{_limit(ending.request, down)}  {what}"


def log_lines(state: RunState) -> list[str]:
    """The app's log of every host, with the host before each line when there are several."""
    several = len(state.hosts) > 1
    return [
        f"{name} | {line}" if several else line
        for name, host in state.hosts.items()
        for line in str(host.report.get("log") or "(the log is empty)").splitlines()
    ]


def command_line(request: Request, hosts: list[str], *, everything: bool = False) -> str:
    """The command that does the same for `hosts`; the limit as typed if that is every host of the run."""
    words = ["python3", "run.py", *request.action.flags[:1], *filter(None, [request.argument])]
    words += [word for path in request.inventories for word in ("-i", path)]
    if everything and request.limit:
        words += ["--limit", request.limit]
    elif not everything:
        words += ["--limit", ",".join(hosts)]
    words += [word for text in request.extra_vars for word in ("-e", text)]
    words += ["--install-docker"] * request.install_docker + ["--adopt"] * request.adopt
    words += ["--no-rollback"] * (not request.rollback)
    words += ["--no-dump"] * request.no_dump
    words += ["--keep", str(request.keep)] if request.keep else []
    words += ["--wait", str(request.wait)] if request.wait else []
    words += request.then.flags[:1] if request.then and request.then is not request.action else ()
    words += ["--forks", str(request.forks)] if request.forks else []
    words += request.ansible.typed
    return shlex.join(words)


def document(ending: Ending) -> dict[str, Any]:
    """The one document of `--json`. `seconds` of wall time; facts that no role reported are null."""
    return {
        "flow": ending.request.action.name,
        "check": ending.request.check,
        "run_id": ending.request.run_id,
        "exit_code": int(ending.verdict.code),
        "summary": headline(ending),
        "seconds": round(ending.seconds, 3),
        "next": next_command(ending) or None,
        "notes": ending.state.notes if ending.verdict.code is ExitCode.INTERNAL else [],
        "hosts": {
            name: _host_document(ending.state.hosts[name], outcome, ending)
            for name, outcome in ending.verdict.outcomes.items()
        },
        "steps": [
            {
                "host": step.host,
                "play": step.play,
                "name": step.name,
                "status": str(step.status),
                "seconds": round(step.seconds, 3),
            }
            for step in ending.state.steps
        ],
    }


def planned(ending: Ending, host: HostState) -> list[Planned]:
    """The steps that the flow was going to do on a host, by what was found before the first of them."""
    return make(ending.request.action.name, host.report)


def plan_lines(planned: Sequence[Planned]) -> list[str]:
    """`    step  changes  why`, in columns."""
    width = max((len(one.step.name) for one in planned), default=0)
    return [
        f"    {words['step']:<{width}}  {words['changes']:<7}  {words['why']}"
        for words in (one.as_dict() for one in planned)
    ]


def otherwise(ending: Ending, host: HostState, outcome: Outcome) -> list[str]:
    """What went otherwise than planned, a line each."""
    if ending.request.check:
        return []
    happened = (step for step in ending.state.steps if step.host == host.name)
    return differences(planned(ending, host), happened, ended=outcome is Outcome.DONE)


def _host_document(host: HostState, outcome: Outcome, ending: Ending) -> dict[str, Any]:
    failures = host.failures
    failure = failures[0] if failures else None
    return {
        "outcome": str(outcome),
        "seconds": round(host.seconds, 3),
        "failure": failure
        and {
            "play": failure.play,
            "step": failure.step,
            "message": failure.message,
            "detail": [*failure.detail, *map(_then, failures[1:])],
        },
        **{key: host.report.get(key) for key in _REPORTED},
        "notes": _notes(host) or None,
        "plan": [one.as_dict() for one in planned(ending, host)],
        "otherwise": otherwise(ending, host, outcome),
    }


def _host_lines(host: HostState, outcome: Outcome, ending: Ending) -> list[str]:
    report = host.report
    found = [f"  {host.name}: {' · '.join(_facts(host, outcome))}"]
    if "history" in report:
        found += [f"    {line}" for line in history.lines(report["history"])]
    if _is_listing(ending) and "config_backups" in report:
        found += [f"    {line}" for line in backups.lines(report["config_backups"])]
    if ending.request.action.name == "status":
        found += [f"    {history.unfinished(run)}"] if (run := report.get("unfinished")) else []
        found += [f"    {_container(one)}" for one in report.get("containers") or []]
    if outcome is Outcome.DONE and report.get("serving") and report.get("urls"):
        found += [*(f"    {url}" for url in report["urls"]), f"    {SIGN_IN}"]
    found += [f"    {_probed(report['probe'])}"] if report.get("probe") else []
    found += [f"    {note}" for note in _notes(host)]
    found += [f"    warning: {warning}" for warning in report.get("warnings") or []]
    found += [f"    not as planned: {one}" for one in otherwise(ending, host, outcome)]
    if host.failures:
        found += _failure_lines(host.failures)
    if outcome in {Outcome.FAILED, Outcome.STOPPED, Outcome.UNREACHABLE}:
        found.append(f"    state:  {_state_left(host, ending)}")
        if log := str(report.get("log") or "").splitlines():
            found += ["    log:", *(f"      {line}" for line in log[-30:])]
    return found + _diagnosis_lines(report, asked=ending.request.action is DIAGNOSIS)


def _diagnosis_lines(report: dict[str, Any], *, asked: bool) -> list[str]:
    """All of it where it was asked for or nothing serves; else where it was kept."""
    found = [f"    diagnosis: {report['diagnosis_file']}"] if report.get("diagnosis_file") else []
    if asked or not report.get("serving"):
        found += [f"    {line}".rstrip() for line in str(report.get("diagnosis") or "").splitlines()]
    return found


def _notes(host: HostState) -> list[str]:
    return [*host.notes, *(host.report.get("notes") or [])]


def _facts(host: HostState, outcome: Outcome) -> Iterator[str]:
    yield str(outcome)
    if host.report.get("version"):
        yield f"version {host.report['version']}"
    if host.report.get("health"):
        yield str(host.report["health"])
    if isinstance(host.report.get("gap_ms"), int):
        yield f"gap in service {host.report['gap_ms']} ms"
    if outcome is not Outcome.NEVER_TRIED:
        yield f"{host.seconds:.1f} s"


def _probed(probe: dict[str, Any]) -> str:
    """Whether the stack is reached from where run.py runs."""
    if probe["status"] is None:
        return f"not reached from this machine: {probe['url']}: {probe['problem']}"
    certificate = ", its certificate is valid" if probe["url"].startswith("https:") else ""
    return f"reached from this machine: {probe['url']} answers {probe['status']}{certificate}"


def _container(one: dict[str, Any]) -> str:
    health = one.get("health") or "no health check"
    return f"{one.get('name')}: {one.get('state')}, {health}, {one.get('image')}"


def _then(failure: Failure) -> str:
    return f"then failed: {failure.step}: {failure.first_line}"


def _failure_lines(failures: list[Failure]) -> list[str]:
    failure, *then = failures
    first, *rest = failure.message.splitlines() or [""]
    found = [f"    failed: {failure.step}", f"    why:    {first}", *(f"            {line}" for line in rest)]
    if failure.unreachable:
        found += [f"            {line}" for line in hostkeys.way_out(failure.message).splitlines()]
    found += [f"            | {line}" for line in failure.detail]
    return found + [f"    {_then(one)}" for one in then]


def _state_left(host: HostState, ending: Ending) -> str:
    if not host.touched or not ending.request.action.changes:
        return "nothing was changed"
    if host.failure and host.failure.unreachable:
        return "unknown; check with --status-only once the host answers"
    if host.report.get("unchanged") and not host.report.get("serving"):
        return "nothing was changed"
    if host.report.get("serving") is None:
        return "unknown: diagnose.yml found no answer; check with --status-only"
    left = host.report.get("left")
    if host.report["serving"]:
        version = host.report.get("version")
        serves = f"version {version} serves" if version else "the version that ran before serves"
        return f"{serves}; {left}" if left else serves
    return f"NOTHING SERVES; {left or 'volumes and configuration are as they were'}"


def _served(ending: Ending) -> str:
    """What serves where the flow ended half-way, compared with what served when it began."""
    others = []
    for name in ending.verdict.left:
        report = ending.state.hosts[name].report
        before, version = report.get("before"), report.get("version")
        if before and version and version != before:
            others.append(f"version {version} serves on {name}, not {before}, which ran before")
    return "; ".join(others) or "the old version still serves"


def _after_interruption(ending: Ending) -> str:
    if not ending.request.action.changes or not any(host.touched for host in ending.state.hosts.values()):
        return "Nothing was changed."
    return f"{_trouble(ending)}." if _down(ending) else "The stack still serves."


def _trouble(ending: Ending) -> str:
    """What is wrong with the hosts that a changing flow left half-way, as far as it is known."""
    reports = {name: ending.state.hosts[name].report for name in _down(ending)}
    silent = [name for name, report in reports.items() if report.get("serving") is None]
    dead = [name for name in reports if name not in silent]
    said = [f"NOTHING SERVES on {', '.join(dead)}"] if dead else []
    return " and ".join([*said, f"it is NOT KNOWN what serves on {', '.join(silent)}"] if silent else said)


def _lost(ending: Ending) -> str:
    """The hosts that stopped answering while they were worked on: nobody can say what serves there."""
    names = [host.name for host in ending.state.failed if host.failure and host.failure.unreachable]
    touched = [name for name in names if ending.state.hosts[name].touched and ending.request.action.changes]
    return f" What serves on {', '.join(touched)} is not known." if touched else ""


def _down(ending: Ending) -> list[str]:
    """The hosts not known to serve: of a changing flow, those it left half-way."""
    changes = ending.request.action.changes
    suspects = {Outcome.FAILED, Outcome.STOPPED} if changes else set(Outcome) - {Outcome.NEVER_TRIED}
    return [
        name
        for name, outcome in ending.verdict.outcomes.items()
        if outcome in suspects
        and not ending.state.hosts[name].report.get("serving")
        and (ending.state.hosts[name].touched or not changes)
    ]


def _limit(request: Request, hosts: list[str]) -> str:
    words = [word for path in request.inventories for word in ("-i", path)]
    if request.limit:
        words += ["--limit", ",".join(hosts)]
    return f" {shlex.join(words)}" if words else ""
