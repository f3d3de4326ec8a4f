"""How a run ended, host by host, and the exit code that says so. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from deploy.events import BUILD, FETCH, HARMLESS, LEASE, LOCK, PRECONDITIONS, HostState, RunState
from deploy.exitcodes import ExitCode, worst

if TYPE_CHECKING:
    from deploy.actions import Action


class Outcome(StrEnum):
    """What became of a host."""

    DONE = "done"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    STOPPED = "stopped half-way"  # by an interruption, or by another host's failure
    NEVER_TRIED = "never tried"


@dataclass(frozen=True)
class Verdict:
    """`outcomes` per host in inventory order, and the exit code of the whole run."""

    outcomes: dict[str, Outcome]
    code: ExitCode

    @property
    def left(self) -> list[str]:
        """The hosts that the operator still has to deal with."""
        return [name for name, outcome in self.outcomes.items() if outcome is not Outcome.DONE]


def to_ask(state: RunState, *, ansible_status: int) -> list[str]:
    """Hosts of which it is unknown whether the old version serves: their run failed, or ended half-way."""
    return [
        host.name
        for host in state.hosts.values()
        if (host.touched or (host.failure and host.failure.play in {FETCH, BUILD, LEASE}))
        and outcome_of(host, ansible_status=ansible_status) in {Outcome.FAILED, Outcome.STOPPED}
    ]


def outcome_of(host: HostState, *, ansible_status: int) -> Outcome:
    """What became of one host, given Ansible's exit status for the whole run."""
    if host.failure:
        return Outcome.UNREACHABLE if host.failure.unreachable else Outcome.FAILED
    if not host.plays:
        return Outcome.NEVER_TRIED
    if ansible_status == 0 or not HARMLESS.issuperset(host.finished):
        return Outcome.DONE
    return Outcome.STOPPED if host.touched else Outcome.NEVER_TRIED


def judge(state: RunState, action: Action, *, ansible_status: int, interrupted: bool) -> Verdict:
    """The verdict of a run that has ended (and, after a failure, been asked what serves)."""
    outcomes = {name: outcome_of(host, ansible_status=ansible_status) for name, host in state.hosts.items()}
    code = worst(_code(state.hosts[name], outcome, action) for name, outcome in outcomes.items())
    if interrupted:
        code = ExitCode.INTERRUPTED
    elif code is ExitCode.DONE and (ansible_status or Outcome.NEVER_TRIED in outcomes.values()):
        code = ExitCode.INTERNAL  # a playbook that cannot be read, or that passed over a host
    return Verdict(outcomes, code)


def _code(host: HostState, outcome: Outcome, action: Action) -> ExitCode:
    serving = bool(host.report.get("serving"))
    if outcome is Outcome.UNREACHABLE:
        return ExitCode.UNREACHABLE
    has_ended = outcome in {Outcome.FAILED, Outcome.STOPPED}
    if has_ended and (_refused(host) or host.report.get("unchanged")):
        return ExitCode.LOCKED if "holder" in host.report else ExitCode.PRECONDITION
    if has_ended:
        if not action.changes and action.name != "status":
            return ExitCode.INTERNAL
        return ExitCode.OLD_VERSION_SERVES if serving else ExitCode.NOT_SERVING
    if outcome is Outcome.DONE and action.name == "status" and not serving:
        return ExitCode.NOT_SERVING
    return ExitCode.DONE


def _refused(host: HostState) -> bool:
    return host.failure is not None and host.failure.play in {PRECONDITIONS, LOCK}
