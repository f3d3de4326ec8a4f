"""The table that `make faults` writes: what came of every fault, with the commit it ran on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = (
    *("stage", "flow", "fault", "exit code", "serves then", "failed probes", "longest gap"),
    *("rows", "files", "commits", "lock", "left over", "says", "verdict"),
)
_HEAD = """\
# Faults and interruptions

What `make faults` saw on {commit}, on {machine}: {passed} of {count} rows are as they should be.

Each row is one flow on a host with the stack running; the application is asked 20 times a second all along.
After an interruption the same command is typed again, and must end with 0; what is said of rows, files,
commits, lock and leftovers is what is there then.

"""


@dataclass(frozen=True)
class Outcome:
    """One line: cells in the order of COLUMNS, and what was not as it should be."""

    name: str
    cells: Sequence[str]
    problems: Sequence[str]


def document(outcomes: Sequence[Outcome], *, commit: str, machine: str) -> str:
    """The whole file, ending in a newline."""
    passed = sum(not outcome.problems for outcome in outcomes)
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for outcome in outcomes:
        verdict = "as it should be" if not outcome.problems else "**" + "; ".join(outcome.problems) + "**"
        cells = [outcome.name, *outcome.cells, verdict]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    head = _HEAD.format(commit=commit, machine=machine, passed=passed, count=len(outcomes))
    return head + "\n".join(lines) + "\n"
