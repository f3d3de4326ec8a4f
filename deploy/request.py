"""What the operator asked for, parsed and complete: the value every later step reads."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deploy.passthrough import AnsibleOptions

if TYPE_CHECKING:
    from deploy.actions import Action


def new_run_id() -> str:
    """Twelve hex characters that name this run in playbooks, logs and, later, the lock and the journal."""
    return uuid.uuid4().hex[:12]


@dataclass(frozen=True)
class Request:
    """One run of `run.py`. `limit` is None only until the inventory default is applied."""

    action: Action
    then: Action | None = None  # a log flow to run after a deploying one
    argument: str = ""  # what the flow's flag takes, as typed
    limit: str | None = None
    inventories: tuple[str, ...] = ()  # given with -i, added after the shipped inventory
    extra_vars: tuple[str, ...] = ()  # as typed: k=v, JSON or @file
    forks: int | None = None
    install_docker: bool = False
    adopt: bool = False
    check: bool = False  # show the plan, and leave everything as it is
    yes: bool = False  # confirmed on the command line
    no_dump: bool = False
    keep: int | None = None  # how many dumps --backup-db leaves of its kind
    wait: int = 0  # seconds to wait for a lock that another run holds
    json: bool = False
    verbosity: int = 0
    rollback: bool = True  # bring the version before back when the gate fails
    ansible: AnsibleOptions = field(default_factory=AnsibleOptions)  # handed on to ansible-playbook
    passwords: str = ""  # the private folder of those that were typed
    checkout: str | None = None  # where this run began, if that is not where this code lies
    commit: str | None = None  # what an update deploys, once it is resolved
    run_id: str = field(default_factory=new_run_id)
