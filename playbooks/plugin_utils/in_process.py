"""Our own modules, run in the process that Ansible made for the step, where the host is this machine.

The action plugin of every module in playbooks/library: playbooks/action_plugins has a link for each.
To start Python and unpack and compile what a module needs of Ansible is most of what such a step costs:
docs/performance.md has the figures. Other hosts, and steps as another user, go the ordinary way.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ansible.module_utils
from ansible.plugins import action
from ansible.plugins.action import normal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

PLAYBOOKS = Path(__file__).parents[1]


def load(file: Path, name: str) -> ModuleType:
    """Load a Python file; what our modules share with each other lies beside their folder."""
    shared = str(PLAYBOOKS / "module_utils")
    if shared not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(shared)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ActionModule(normal.ActionModule):
    """Carry out one step."""

    def run(self, tmp: None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        file = PLAYBOOKS / "library" / f"{self._task.action}.py"
        if not self._runs_here():
            return dict(super().run(tmp, task_vars))
        result = dict(action.ActionBase.run(self, tmp, task_vars))
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        sys.dont_write_bytecode = True  # a mere look leaves every file as it is
        module = load(file, file.stem).MODULE
        from ansible.module_utils.onhost import allowlist  # noqa: PLC0415 - `load` has made it importable

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
