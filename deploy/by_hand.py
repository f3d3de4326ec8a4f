"""A run of a playbook without run.py: started by `ansible-playbook`, or by AWX.

The claim of its locks, the state of its hosts, the verdict, the lines of the journal and the summary are made
by the code that run.py uses. The callback plugin `by_hand` feeds it, and the role `by_hand` takes the locks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from deploy import extra_vars, summary
from deploy import verdict as verdicts
from deploy.actions import ACTIONS, DIAGNOSIS, LOG_LINES_AFTER_FAILURE, PROJECT, Action
from deploy.events import RunState
from deploy.lock import end_line, took_over
from deploy.onhost import allowlist, lock
from deploy.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from deploy.masking import Mask

CONFIRM: Final = "confirm"  # the extra variable that has to name the project before anything is destroyed
# Variables by which Ansible and AWX are configured: a run keeps them, as plugins read them at any time.
_OF_ANSIBLE = ("ANSIBLE_", "AWX_", "JOB_", "INVENTORY_", "PROJECT_", "RUNNER_", "MAX_EVENT_RES")


def action_of(playbook: str) -> Action:
    """Return the row of the table that a playbook belongs to, by its name without `.yml`. Raises KeyError."""
    listings = [action.listing for action in ACTIONS if action.lists]
    for action in (*ACTIONS, *listings):
        if action.playbook == f"{playbook}.yml":
            return action
    raise KeyError(playbook)


def environment(exported: Mapping[str, str], locale: str) -> dict[str, str]:
    """Return the environment of the run's programs: that of run.py, and what configures Ansible. Pure."""
    kept = {name: value for name, value in exported.items() if name.startswith(_OF_ANSIBLE)}
    return {**kept, **allowlist.cleaned(exported), "LANG": locale}


class Run:
    """One playbook from its first play to its end; `given` are the extra variables of the command line."""

    def __init__(self, playbook: str, given: Mapping[str, Any], mask: Mask, *, check: bool) -> None:
        self.request = Request(action=action_of(playbook), check=check)
        self.state = RunState([])
        self.verdict: verdicts.Verdict | None = None
        self._mask = mask
        self._given = dict(given)
        self._since: dict[str, float] = {}  # host → when its present step began
        self._settled: set[str] = set()  # hosts whose lock was asked for
        self._began = time.monotonic()

    @property
    def variables(self) -> dict[str, Any]:
        """Return the extra variables: those that run.py passes, and those of the role `by_hand`."""
        action, check = self.request.action, self.request.check
        passed = extra_vars.extra_variables(self.request, action)
        return {
            **{name: value for name, value in passed.items() if name == "run_id" or name not in self._given},
            "run_by_hand": True,
            "lock_claim": lock.claim_by_hand(self.request.run_id, action.name),
            "by_hand_label": action.label,
            "by_hand_destroys": list(action.destroys),
            "by_hand_confirmation": PROJECT,
            "by_hand_confirmed": self._given.get(CONFIRM) == PROJECT,
            "by_hand_for_one_host": action.for_one_host,
            "by_hand_argument": extra_vars.ARGUMENTS[action.name] if action.needs_argument else "",
            "by_hand_takes": action.takes,
            "by_hand_words": action.words,
            "by_hand_locks": action.changes and not check,
            "by_hand_fetches": action.fetches,
            "by_hand_deploys": action.deploys,
            **({"plan_only": True} if check else {}),
        }

    @property
    def diagnosis(self) -> dict[str, Any]:
        """Return the extra variables of the diagnosis after a failure."""
        return {
            "run_flow": DIAGNOSIS.name,
            "status_log_lines": LOG_LINES_AFTER_FAILURE,
            "diagnostics_keep": True,
        }

    @property
    def held(self) -> list[str]:
        """Return the hosts whose lock this run has taken."""
        hosts = self.state.hosts.values()
        return [host.name for host in hosts if host.report.get("lock", {}).get("taken")]

    @property
    def holds_source(self) -> bool:
        """Whether the run also has the lock of the checkout that it takes code from."""
        return any(host.report.get("source_lock", {}).get("taken") for host in self.state.hosts.values())

    def apply(self, event: dict[str, Any]) -> None:
        """Take one event in, in the form of ansible-runner but for its times."""
        data, now = event["event_data"], time.monotonic()
        host = data.get("host", "")
        if event["event"] == "runner_on_start":
            self._since[host] = now
        step = self.state.apply(
            {**event, "event_data": {**data, "duration": now - self._since.get(host, now)}}
        )
        if step is None or step.host in self._settled or "lock" not in self.state.hosts[step.host].report:
            return
        self._settled.add(step.host)
        found = self.state.hosts[step.host]
        answer = found.report["lock"]
        if not answer["taken"]:
            found.report["holder"] = answer["holder"] or None
        elif answer.get("replaced") is not None:
            found.notes.append(took_over(answer))

    @property
    def status(self) -> int:
        """Return what ansible-playbook ends with, as far as the verdict needs it."""
        return 2 if self.state.failed else 0

    @property
    def doubtful(self) -> list[str]:
        """Return the hosts of which it is unknown whether the old version serves."""
        return verdicts.to_ask(self.state, ansible_status=self.status) if self.request.action.changes else []

    def end(self, serving: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Judge the run, and return the lines for the journals.

        `serving`: what the diagnosis reports of each doubtful host, empty where it failed.
        """
        for name, found in serving.items():
            self.state.hosts[name].apply_diagnosis(found)
        action = self.request.action
        self.verdict = verdicts.judge(self.state, action, ansible_status=self.status, interrupted=False)
        return {name: end_line(self.state, name, action.name, self.verdict, self._mask) for name in self.held}

    def summary(self) -> list[str]:
        """Return the lines that run.py would show of the run; call `end` before."""
        if self.verdict is None:
            return []
        ending = summary.Ending(self.request, self.state, self.verdict, time.monotonic() - self._began)
        is_done = self.verdict.code == 0
        if self.request.action.shows_log and is_done:
            found = summary.log_lines(self.state)
        elif self.request.check and is_done:
            found = [summary.headline(ending)]
            for host in self.state.hosts.values():
                found += ["", f"  {host.name}:", *summary.plan_lines(summary.planned(ending, host))]
                found += [f"    {note}" for note in host.report.get("notes") or []]
                found += [f"    warning: {warning}" for warning in host.warnings]
        else:
            found = summary.lines(ending, with_hint=False)
        return [self._mask.text(line) for line in found]
