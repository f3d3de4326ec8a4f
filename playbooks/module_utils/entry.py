"""How each module of playbooks/library is entered.

On other hosts as a program, where Ansible puts it. On this machine by the action plugin `normal`, which calls
it in the process that Ansible has made for the step already: that saves starting Python with Ansible in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Answer = dict[str, Any]


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

    `looks`: it changes nothing, so that `ansible-playbook --check` may run it too.
    """

    answer: Callable[[Answer], Answer]
    arguments: dict[str, dict[str, Any]]
    required_if: Sequence[tuple[Any, ...]] = ()
    looks: bool = False

    def run(self) -> None:
        """Be the program that Ansible starts."""
        module = AnsibleModule(self.arguments, required_if=self.required_if, supports_check_mode=self.looks)
        try:
            result = self.answer(module.params)
        except Failure as failure:
            module.fail_json(**failure.result)
        module.exit_json(**result)

    def call(self, given: Answer) -> Answer:
        """Check what a step gives, and answer it in this process; a failure is a result, too."""
        checked = ArgumentSpecValidator(self.arguments, required_if=self.required_if).validate(given)
        if checked.error_messages:
            return Failure("; ".join(checked.error_messages)).result
        try:
            return self.answer(checked.validated_parameters)
        except Failure as failure:
            return failure.result
