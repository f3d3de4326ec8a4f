"""The locks of a run: those of all its hosts, or none. The journal gets its lines with them.

Where run.py works on this machine as this user it looks itself, which costs nothing; other hosts are asked by
`lock.yml`. The same code does the work in both places (`deploy/onhost`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from deploy import extra_vars, handover
from deploy.actions import BY_NAME
from deploy.events import LEASE, LOCK, Failure, HostState, RunState
from deploy.exitcodes import ExitCode
from deploy.heartbeat import Heartbeat, Leases, Plans
from deploy.inventory import DEFAULT_LIMIT
from deploy.onhost import causes, leftovers, lock, runs
from deploy.plan.flows import differences, make
from deploy.plan.step import Changes
from deploy.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from deploy.inventory import Inventory
    from deploy.masking import Mask
    from deploy.request import Request
    from deploy.verdict import Verdict

PLAYBOOK = "lock.yml"


class Lock:
    """A context manager around a flow that changes something; `take` inside of it, and set the `verdict`.

    When it ends, everything that was taken is given up, whatever happened; only a controller that goes on
    with this run (`handover.Due`) inherits it. `play` plays a playbook on the hosts of a state, with
    variables; `beat` does the same during the flow, from another thread, and returns their results.
    `leases` hears of each heartbeat, and of the hosts that another run has taken over.
    """

    def __init__(
        self,
        request: Request,
        state: RunState,
        hosts: Sequence[str],
        known: Inventory,
        mask: Mask,
        checkout: Path,
        play: Callable[[str, RunState, dict[str, Any]], int],
        beat: Callable[[str, list[str], dict[str, Any]], dict[str, dict[str, Any]]],
        *,
        leases: Leases,
    ) -> None:
        self._run_id = request.run_id
        self._claim = lock.claim(request.run_id, request.action.name)
        self._state = state
        self._mask = mask
        self._play = play
        self._beat_there = beat
        self._leases = leases
        self._here: dict[str, Path] = {}
        places: dict[str, Path | None] = {}
        extra: dict[str, Any] = {}
        if hosts:
            own = extra_vars.extra_variables(request, request.action)
            extra = {**own, **extra_vars.values(request.extra_vars)}
            places = {name: known.project_dir(name, extra) for name in hosts}
        for name, place in places.items():
            if (
                place and place not in self._here.values()
            ):  # a checkout has one lock, under any number of names
                self._here[name] = place
        self._there = [name for name, place in places.items() if not place]
        # What the checkout of this run.py gives to other hosts is locked in the name of the first.
        takers = (name for name in self._there if _takes_code(request, known, name, extra))
        self._source = "" if checkout in self._here.values() else next(takers, "")
        if self._source:
            self._here[self._source] = checkout
        self._taken: list[str] = []
        self._planned: set[str] = set()
        self._heart = Heartbeat(self._beat)
        self.verdict: Verdict | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heart.stop()
        if not isinstance(error, handover.Due):
            self._release()

    def take(self) -> bool:
        """Take the lock of every host; False if one is held, or cannot be locked: the state says why."""
        for name, place in self._here.items():
            host = self._state.hosts[name]
            take = runs.hold if name == self._source else runs.begin
            where = f"{place}, the checkout that this run takes code from" if name == self._source else ""
            try:
                self._settle(host, take(place, self._claim), where)
            except (OSError, leftovers.LeftoverError) as error:
                _fail(host, f"{place} on {name} cannot be locked: {_why(error, place)}. Nothing was changed.")
            if host.failure:
                return False
        if self._there and not self._take_there():
            return False
        for name in self._taken:
            self._leases.renewed(name)
        if self._taken:
            self._heart.start()
        return True

    @property
    def holder(self) -> tuple[str, lock.Holder] | None:
        """The host and the run that holds its lock, after `take` failed for that reason."""
        for name, host in self._state.hosts.items():
            if host.failure and (found := host.report.get("holder")):
                return name, found
        return None

    def forget_failure(self) -> None:
        """Have the state say nothing of an attempt to take the locks that is going to be repeated."""
        for host in self._state.hosts.values():
            host.failure = None
            host.earlier.clear()
            host.report.pop("holder", None)
            host.report.pop("lock", None)

    @property
    def lost(self) -> bool:
        """Whether another run may be at work on one of the hosts."""
        return bool(self._leases.lost)

    def note_losses(self) -> None:
        """Look at every lock once more after a failure; a host whose lock is gone failed for that reason."""
        self._heart.stop()
        self._beat({})
        for name, why in self._leases.lost.items():
            host = self._state.hosts[name]
            message = f"{why}. This run stopped and changes nothing more on {name}"
            _fail(host, f"{message}; see what the other run does: python3 run.py --history", LEASE)

    def note_plans(self) -> None:
        """Have the journal of each host say what is going to happen there, as soon as that is known."""
        flow = self._claim["flow"]
        for name in self._taken:
            report = self._state.hosts[name].report
            if name not in self._planned and (planned := make(flow, report)):
                self._planned.add(name)
                steps = [one.as_dict() for one in planned if one.answer.changes is not Changes.NO]
                self._heart.note({name: self._mask.tree(steps)})

    def _take_there(self) -> bool:
        # Whatever comes of it, all of them are asked to give it up.
        self._taken += [name for name in self._there if name != self._source]
        found = self._ask("begin")
        answers = {name: host.report["lock"] for name, host in found.hosts.items() if "lock" in host.report}
        held = [answer["holder"] for answer in answers.values() if not answer["taken"]]
        # Runs of this machine: nobody but us can see here whether they live.
        over = sorted({holder["run_id"] for holder in held if holder and lock.lives(holder) is False})
        if over:
            found = self._ask("begin", lock_dead=over)
        for name, answer in found.hosts.items():
            if "lock" in answer.report:
                self._settle(self._state.hosts[name], answer.report["lock"])
            else:
                self._state.hosts[name].failure = answer.failure
        self._state.notes = found.notes
        return all(host.report.get("lock", {}).get("taken") for host in found.hosts.values())

    def _settle(self, host: HostState, answer: Mapping[str, Any], where: str = "") -> None:
        """What came of the attempt on one host: held by somebody else, or ours, perhaps from the dead."""
        if not answer["taken"]:
            host.report["holder"] = answer["holder"] or None
            _fail(host, refusal(answer["holder"], DEFAULT_LIMIT if where else host.name, where))
            return
        if host.name not in self._taken:
            self._taken.append(host.name)
        if "from" in answer:
            host.report["before"] = answer["from"]
        if answer.get("replaced") is not None:
            host.notes.append(took_over(answer))

    def _release(self) -> None:
        code = self.verdict.code if self.verdict else ExitCode.INTERNAL
        lines = {
            name: end_line(self._state, name, self._claim["flow"], self.verdict, self._mask)
            for name in self._taken
        }
        failed = code is not ExitCode.DONE
        for name in [name for name in self._taken if name in self._here]:
            try:
                held = runs.end(self._here[name], self._run_id, lines[name], failed=failed)
            except (OSError, leftovers.LeftoverError) as error:
                why = _why(error, self._here[name] / lock.FOLDER)
                self._warn(name, f"the end of this run could not be noted in the journal: {why}")
            else:
                if not held and name not in self._leases.lost:
                    self._warn(name, "somebody released the lock of this run while it was at work (--unlock)")
        if there := [name for name in self._taken if name in self._there]:
            found = self._ask("end", lock_lines={name: lines[name] for name in there}, lock_failed=failed)
            for host in found.failed:
                why = host.failure.message if host.failure else ""
                self._warn(
                    host.name, f"the lock could not be given up: {why}. It ends by itself in two minutes"
                )

    def _warn(self, name: str, text: str) -> None:
        report = self._state.hosts[name].report
        report["warnings"] = [*(report.get("warnings") or []), text]

    def _ask(self, step: str, **variables: object) -> RunState:
        found = RunState(self._there)
        self._play(PLAYBOOK, found, {"lock_step": step, "lock_claim": self._claim, **variables})
        return found

    def _beat(self, plans: Plans) -> None:
        """Send a heartbeat, for runs on other machines or in containers, and note what comes with it."""
        for name, place in self._here.items():
            try:
                held = runs.alive(place, self._run_id, None if name == self._source else plans.get(name))
            except OSError as error:  # a full disk: the next one may get through
                self._leases.missed(name, str(error))
            else:
                plans.pop(name, None)
                self._renew(name, held=held, holder=None if held else runs.taken_by(place, self._run_id))
        if there := [name for name in self._there if name in self._taken]:
            self._beat_elsewhere(there, plans)

    def _beat_elsewhere(self, hosts: list[str], plans: Plans) -> None:
        lines = {name: plans[name] for name in hosts if name in plans}
        variables = {"lock_step": "beat", "lock_claim": self._claim, "lock_plans": lines}
        try:
            results = self._beat_there(PLAYBOOK, hosts, variables)
        except OSError as error:
            results = {name: {"msg": str(error)} for name in hosts}
        for name in hosts:
            result = results.get(name, {})
            answer = (result.get("ansible_facts") or {}).get("host_report", {}).get("lock")
            if answer is None:
                self._leases.missed(name, str(result.get("msg") or "no answer"))
            else:
                plans.pop(name, None)
                self._renew(name, held=answer["held"], holder=answer.get("holder"))

    def _renew(self, name: str, *, held: bool, holder: lock.Holder | None) -> None:
        if held:
            self._leases.renewed(name)
        elif holder:
            self._leases.gone(name, f"the lock of this run was taken over by {described(holder)}")
        else:
            self._leases.gone(name, "somebody released the lock of this run (--unlock)")


def end_line(state: RunState, name: str, flow: str, verdict: Verdict | None, mask: Mask) -> dict[str, Any]:
    """Return what the journal of a host has of the end of a run, without secrets. Pure."""
    host = state.hosts[name]
    failures = host.failures
    outcomes = verdict.outcomes if verdict else {}
    happened = [step for step in state.steps if step.host == name]
    line = {
        "exit_code": int(verdict.code if verdict else ExitCode.INTERNAL),
        "failure": f"{failures[0].step}: {failures[0].first_line}" if failures else None,
        "hosts": {one: str(outcome) for one, outcome in outcomes.items()},
        "otherwise": differences(make(flow, host.report), happened, ended=outcomes.get(name) is Outcome.DONE),
    }
    return dict(mask.tree(line))


def _why(error: Exception, place: Path) -> str:
    return causes.explain(error, place) if isinstance(error, OSError) else str(error)


def _fail(host: HostState, message: str, play: str = LOCK) -> None:
    host.fail(Failure(play, "Take the lock" if play == LOCK else "Hold the lock", message))


def _takes_code(request: Request, known: Inventory, host: str, extra: Mapping[str, Any]) -> bool:
    """Whether the run takes code for `host` from the checkout of this run.py.

    It builds there, or lays the controller out there that goes on with an update.
    """
    action = request.action
    return action.fetches or (action.deploys and known.builds_here(host, extra))


def refusal(holder: lock.Holder, host: str, where: str = "") -> str:
    """Return the message of a run that finds the lock of `host` held, or of a place there. Pure."""
    if not holder:
        return (
            f"The lock of {where or host} cannot be read, so its owner is unknown.\n"
            f"If no other run is at work there: python3 run.py --unlock --limit {host}"
        )
    return (
        f"{described(holder)} is at work on {where or host}, "
        f"process {holder['pid']} on {holder['machine']}.\n"
        f"Wait for its end. Should it hang: kill {holder['pid']} (on {holder['machine']}), then this again."
    )


def took_over(answer: Mapping[str, Any]) -> str:
    """The note about a lock that the dead had left. Pure."""
    who = described(answer["replaced"]) if answer["replaced"] else "somebody unknown"
    ended = f"; what it had left was ended: {', '.join(answer['ended'])}" if answer.get("ended") else ""
    return f"took over the lock of {who}: {answer['why']}{ended}"


def described(holder: lock.Holder) -> str:
    """Which run that is, as its operator typed it. Pure."""
    action = BY_NAME.get(holder["flow"])
    typed = action.flags[0] if action and action.flags else "a full deploy"
    return (
        f"{typed} (run {holder['run_id']}) by {holder['user']} on {holder['machine']} since {holder['since']}"
    )
