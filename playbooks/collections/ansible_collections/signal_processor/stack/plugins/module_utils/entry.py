"""How each module of the collection is entered.

On other hosts as a program, where Ansible puts it. On this machine by its action plugin, which calls
it in the process that Ansible has made for the step already: that saves starting Python with Ansible in it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.signal_processor.stack.plugins.module_utils.onhost import (
    allowlist,
    causes,
    fence,
    leftovers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Answer = dict[str, Any]

_PLACES = ("path", "project_dir", "checkout", "folder", "context")  # options that say where a module works


class Failure(Exception):  # noqa: N818 - how a step fails, in words for the operator
    """The step fails; `facts` are kept all the same."""

    def __init__(self, message: str, facts: Answer | None = None) -> None:
        super().__init__(message)
        self.facts = facts or {}

    @property
    def result(self) -> Answer:
        """What Ansible takes for a failed step."""
        return {"failed": True, "msg": str(self), "ansible_facts": self.facts}


@dataclass(frozen=True)
class Module:
    """What a module takes, and what it does: `answer` gets the checked arguments and returns the result.

    `looks`: it changes nothing, so that `ansible-playbook --check` may run it too. `fenced` returns the
    checkout whose lock the run must hold for what is asked, or an empty string where that only looks.
    """

    answer: Callable[[Answer], Answer]
    arguments: dict[str, dict[str, Any]]
    required_if: Sequence[tuple[Any, ...]] = ()
    looks: bool = False
    fenced: Callable[[Answer], str] = lambda _: ""

    def run(self) -> None:
        """Be the program that Ansible starts; what else its user's login exports reaches no child of it."""
        module = AnsibleModule(self.arguments, required_if=self.required_if, supports_check_mode=self.looks)
        try:
            with allowlist.in_force(allowlist.cleaned(os.environ, own=True)):
                result = self._carry_out(module.params)
        except Failure as failure:
            module.fail_json(**failure.result)
        module.exit_json(**result)

    def call(self, given: Answer) -> Answer:
        """Check what a step gives, and answer it in this process; a failure is a result, too."""
        checked = ArgumentSpecValidator(self.arguments, required_if=self.required_if).validate(given)
        if checked.error_messages:
            return Failure("; ".join(checked.error_messages)).result
        try:
            return self._carry_out(checked.validated_parameters)
        except Failure as failure:
            return failure.result

    def _carry_out(self, params: Answer) -> Answer:
        """Answer, with the lock held all along where that is needed. Raises Failure."""
        project = self.fenced(params)
        try:
            if not project:
                return self.answer(params)
            with fence.passing(Path(project), os.environ.get(leftovers.MARK, "")):
                return self.answer(params)
        except fence.FenceError as refusal:
            raise Failure(str(refusal)) from refusal
        except OSError as error:
            place = next((params[name] for name in _PLACES if params.get(name)), ".")
            raise Failure(f"{causes.explain(error, Path(place))}.") from error
