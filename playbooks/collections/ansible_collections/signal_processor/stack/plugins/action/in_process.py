"""Our own modules, run in the process that Ansible made for the step, where the host is this machine.

The action plugin of every module of this collection, as meta/runtime.yml says.
To start Python and unpack and compile what a module needs of Ansible is most of what such a step costs:
docs/performance.md has the figures. Other hosts, and steps as another user, go the ordinary way.
"""

from __future__ import annotations

import importlib
import json
import os
from typing import TYPE_CHECKING, Any

from ansible.plugins import action
from ansible.plugins.action import normal
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import allowlist

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULES = "ansible_collections.signal_processor.stack.plugins.modules"


class ActionModule(normal.ActionModule):
    """Carry out one step."""

    def run(self, tmp: None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        if not self._runs_here():
            return dict(super().run(tmp, task_vars))
        result = dict(action.ActionBase.run(self, tmp, task_vars))
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        module = importlib.import_module(f"{MODULES}.{self._task.action.rpartition('.')[2]}").MODULE
        # There and back as JSON, as with any other host: so a step gets and gives the same everywhere.
        set_by_step = {name: str(value) for name, value in environment.items()}
        with allowlist.in_force({**allowlist.cleaned(os.environ, own=True), **set_by_step}):
            answer = module.call(json.loads(json.dumps(self._task.args)))
        return {**result, **json.loads(json.dumps(answer))}

    def _runs_here(self) -> bool:
        connection, task = self._connection, self._task
        return connection.transport == "local" and not (
            connection.become or task.async_val or task.check_mode
        )
