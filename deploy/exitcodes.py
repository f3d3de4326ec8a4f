"""The exit codes of `run.py`, and how several hosts make one."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(IntEnum):
    """What the operator's shell sees; scripts depend on the numbers."""

    DONE = 0
    INTERNAL = 1  # our own fault, or the environment could not be made; nothing changed
    USAGE = 2  # wrong flag, unknown host or `--limit` term
    PRECONDITION = 3  # something has to be put right first; nothing changed
    UNREACHABLE = 4  # a host did not answer
    OLD_VERSION_SERVES = 5  # the flow failed, what ran before still runs
    NOT_SERVING = 6  # the flow failed and nothing serves, or nothing served before
    LOCKED = 7  # another run holds the lock
    DECLINED = 8  # a destructive flow was not confirmed
    INTERRUPTED = 130  # Ctrl-C or a TERM signal


_WORST_FIRST = (
    ExitCode.NOT_SERVING,
    ExitCode.OLD_VERSION_SERVES,
    ExitCode.UNREACHABLE,
    ExitCode.LOCKED,
    ExitCode.PRECONDITION,
    ExitCode.INTERNAL,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The code that speaks for all hosts: the first present of 6, 5, 4, 7, 3, then 1, else 0."""
    present = set(codes)
    return next((code for code in _WORST_FIRST if code in present), ExitCode.DONE)
