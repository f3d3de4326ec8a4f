"""The question before anything is destroyed: what goes is said, the project's name is typed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploy.actions import PROJECT
from deploy.masking import printable

if TYPE_CHECKING:
    from deploy.request import Request


class DeclinedError(Exception):
    """Nobody confirmed it; one line for the operator (exit 8)."""


def confirm(request: Request, hosts: list[str]) -> None:
    """Return if the operator wants it: by `--yes`, or by typing the project's name at a terminal.

    Everything is said on stderr: stdout is for `--json`. Raises DeclinedError; nothing is touched then.
    """
    flag = request.action.flags[0]
    sys.stderr.write(printable(question(request, hosts)))
    if request.yes:
        return
    if not sys.stdin.isatty():
        raise DeclinedError(
            f"{flag} destroys data and there is no terminal to confirm it on. Nothing was touched. "
            "Add --yes to confirm it here"
        )
    sys.stderr.write(f"Type {PROJECT} to go on: ")
    sys.stderr.flush()
    if _typed() != PROJECT:
        raise DeclinedError(f"{flag} was not confirmed. Nothing was touched")


def _typed() -> str:
    """Return the line that was typed; nothing where the terminal went away."""
    try:
        return sys.stdin.readline().strip()
    except OSError:
        return ""


def question(request: Request, hosts: list[str]) -> str:
    """What goes on `hosts`, and what becomes of the data: lines, ending in a newline. Pure."""
    action, dump = request.action, not request.no_dump
    what = " ".join(filter(None, [action.label, request.argument]))
    lines = [
        f"{what} on {', '.join(hosts)} destroys there:",
        *(f"  - {one}" for one in action.destroys),
    ]
    if action.dumps:
        lines.append(
            "A verified dump is made in backups/db first; if that fails, nothing is destroyed."
            if dump
            else "WITHOUT a dump (--no-dump): the data cannot be brought back."
        )
    return "\n".join([*lines, ""])
