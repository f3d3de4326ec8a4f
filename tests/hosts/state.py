"""What a host's engine and its checkout have, as lines to compare before and after a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.hosts.stack import Stack

OBJECTS = (
    "docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.State}}'",
    "docker images --all --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}'",
    "docker volume ls --quiet",
    "docker network ls --quiet",
    "git for-each-ref && git rev-parse HEAD",
)
# Every file with mode, size and time, without what Python and pip write.
FILES = "find . -name .venv -prune -o -name __pycache__ -prune -o -type f -printf '%p %m %s %T@\\n'"


def state(stack: Stack, *more: str) -> set[str]:
    """Return the engine's objects and the refs, and what `more` commands print in the checkout."""
    seen = [stack.host.run(command, folder=stack.project).require().stdout for command in (*OBJECTS, *more)]
    return {line for output in seen for line in output.splitlines()}
