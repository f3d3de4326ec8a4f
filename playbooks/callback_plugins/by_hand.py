"""Variables, environment, locks and summary of a playbook that was started without run.py.

Ansible loads this file because it lies next to the playbooks. Where run.py plays (it passes `run_id`), or a
playbook does not begin with `by_hand.yml`, it does nothing. `deploy/by_hand.py` decides; this is its
connection to Ansible.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants, context
from ansible.executor.task_queue_manager import TaskQueueManager
from ansible.playbook import Playbook
from ansible.plugins.callback import CallbackBase

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.append(str(CHECKOUT))  # last, so that nothing of Ansible is found here

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import CallbackTaskResult
    from ansible.inventory.host import Host
    from ansible.playbook.play import Play
    from ansible.playbook.play_context import PlayContext
    from ansible.playbook.task import Task

    from deploy import by_hand

DOCUMENTATION = """
name: by_hand
type: notification
short_description: Locks and summary of a playbook that was started without run.py
description: Releases the locks that the role by_hand has taken, also after a failure, and shows the summary.
"""
_NAME = "by_hand_playbook"  # the variable by which `by_hand.yml` is imported
_BEGINNING = "Lock"  # its play, which takes the lock
_CHANGES = "changes"  # the tag of whatever changes something
_NO_RUN = (None, "", "by-hand")  # values of `run_id` that are none of run.py
# What is written in an inventory wins over group_vars/ next to the playbooks, as ansible.cfg has it.
_PRECEDENCE = (
    *("all_plugins_play", "groups_plugins_play", "all_plugins_inventory", "groups_plugins_inventory"),
    *("all_inventory", "groups_inventory"),
)


class CallbackModule(CallbackBase):
    """Follows the plays of one ansible-playbook."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "by_hand"

    def __init__(self) -> None:
        super().__init__()
        self._run: by_hand.Run | None = None
        self._variables: Any = None  # Ansible's VariableManager
        self._loader: Any = None
        self._passwords: dict[str, str | None] = {}

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        """Prepare a run without run.py; what configures it comes before any of its variables is read."""
        plays = playbook.get_plays()
        is_ours = any(_NAME in play.vars for play in plays)
        if not is_ours or plays[0].get_variable_manager().extra_vars.get("run_id") not in _NO_RUN:
            return
        if context.CLIARGS["start_at_task"]:
            self._display.error("--start-at-task would leave out confirmation and lock. Nothing was changed.")
            sys.exit(2)  # an exception of a callback would be a warning
        # Imported here, as are the others: a run of run.py needs none of it, and pays for what is imported.
        from deploy import by_hand, environment  # noqa: PLC0415
        from deploy.onhost import allowlist  # noqa: PLC0415

        self._variables, self._loader = plays[0].get_variable_manager(), plays[0].get_loader()
        # ansible.cfg counts in the folder of the checkout only, and this part of it counts everywhere.
        constants.set_constant("VARIABLE_PRECEDENCE", list(_PRECEDENCE))
        locale = environment.usable_locale(os.environ)
        allowlist.replace(os.environ, by_hand.environment(os.environ, locale))
        if context.CLIARGS["check"]:
            for play in plays:
                _look_only(play)

    def set_play_context(self, play_context: PlayContext) -> None:
        """Keep the passwords that were typed, with which the locks are released."""
        super().set_play_context(play_context)
        self._passwords = {"conn_pass": play_context.password, "become_pass": play_context.become_pass}

    def v2_playbook_on_play_start(self, play: Play) -> None:
        """Begin a run with the play that `by_hand.yml` is."""
        if self._variables is None:
            return
        # An imported playbook has the variable in all its plays.
        if (name := play.vars.get(_NAME)) and play.get_name() == _BEGINNING:
            self._end()
            self._begin(name)
        if context.CLIARGS["check"]:
            _look_only(play)
        self._apply("playbook_on_play_start", name=play.get_name())

    def v2_runner_on_start(self, host: Host, task: Task) -> None:
        """Note that a step begins."""
        self._apply("runner_on_start", host=host.get_name(), **_named(task))

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Note its result."""
        self._note("runner_on_ok", result)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        """Note that it was skipped."""
        self._note("runner_on_skipped", result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:  # noqa: FBT001, FBT002 - Ansible's
        """Note that it failed."""
        self._note("runner_on_failed", result, ignore_errors=ignore_errors)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """Note that its host was not reached."""
        self._note("runner_on_unreachable", result)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """End the run, however it went."""
        self._apply("playbook_on_stats", failures=stats.failures, dark=stats.dark)
        self._end()

    def _begin(self, playbook: str) -> None:
        from deploy import by_hand, masking  # noqa: PLC0415 - as above

        given = self._variables.extra_vars
        mask = masking.Mask(masking.local_secrets(CHECKOUT, backups=False) | masking.secret_values(given))
        self._run = by_hand.Run(playbook, given, mask, check=bool(context.CLIARGS["check"]))
        given.update(self._run.variables)

    def _end(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        from deploy.actions import DIAGNOSIS  # noqa: PLC0415 - as above
        from deploy.lock import PLAYBOOK  # noqa: PLC0415
        from deploy.masking import printable  # noqa: PLC0415
        from deploy.onhost import lock  # noqa: PLC0415

        serving: dict[str, Any] = {}
        if doubtful := run.doubtful:
            failed = self._play(str(DIAGNOSIS.playbook), doubtful, run.diagnosis)
            serving = {name: {} if name in failed else self._report(name) for name in doubtful}
        if lines := run.end(serving):
            has_failed = bool(run.verdict and run.verdict.code)
            self._play(
                PLAYBOOK, list(lines), {"lock_step": "end", "lock_lines": lines, "lock_failed": has_failed}
            )
        if run.holds_source:
            lock.release(CHECKOUT, run.request.run_id)
        for name in run.variables:
            self._variables.extra_vars.pop(name)  # another playbook of the same command has its own
        self._display.display(printable("\n".join(["", *run.summary()])))

    def _report(self, host: str) -> dict[str, Any]:
        found = self._variables.get_vars(host=self._variables._inventory.get_host(host))  # noqa: SLF001 - not public
        return dict(found.get("host_report") or {})

    def _play(self, playbook: str, hosts: list[str], variables: dict[str, Any]) -> set[str]:
        """Play another playbook on hosts, those that failed included, within this ansible-playbook.

        Returns the hosts on which it failed.
        """
        inventory = self._variables._inventory  # noqa: SLF001 - Ansible gives callbacks no other way to it
        path = str(CHECKOUT / "playbooks" / playbook)
        book = Playbook.load(path, variable_manager=self._variables, loader=self._loader)
        self._variables.extra_vars.update(variables)
        queue = TaskQueueManager(
            inventory, self._variables, self._loader, self._passwords, run_additional_callbacks=False
        )
        inventory.restrict_to_hosts([inventory.get_host(name) for name in hosts])
        try:
            for play in book.get_plays():
                if _NAME not in play.vars:
                    queue.run(play)
        finally:
            queue.cleanup()
        return {*queue._failed_hosts, *queue._unreachable_hosts}  # noqa: SLF001 - as above

    def _note(self, kind: str, result: CallbackTaskResult, **more: object) -> None:
        self._apply(kind, host=result.host.get_name(), res=dict(result.result), **_named(result.task), **more)

    def _apply(self, kind: str, **data: object) -> None:
        if self._run:
            self._run.apply({"event": kind, "event_data": data})


def _look_only(play: Play) -> None:
    """Make `--check` what it is for run.py: the same playbook, played without what changes anything."""
    play.skip_tags.add(_CHANGES)
    play.check_mode = False


def _named(task: Task) -> dict[str, Any]:
    role = task._role  # noqa: SLF001 - as ansible-runner reads it
    return {"task": task.name, "task_action": task.action, "role": role.get_name() if role else ""}
