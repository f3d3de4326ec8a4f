"""The table that `make faults` writes: the result of every fault, with the commit it ran on. Pure."""

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
    """One line: cells in the order of COLUMNS, and the failed expectations."""

    name: str
    cells: Sequence[str]
    problems: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A smaller table with its own columns."""

    title: str
    about: str
    columns: Sequence[str]


@dataclass(frozen=True)
class Line:
    """A line of the table of this name: action, observation, and failed expectations."""

    table: str
    cells: Sequence[str]
    problems: Sequence[str]


TABLES = {
    "way": Table(
        "From a version without an edge, and back",
        "How long nobody answered: in a swap of that version's own, and where the edge comes and goes.",
        ("version", "its own swap, s", "`--update` to this one, s", "`--rollback`, s"),
    ),
    "load": Table(
        "Under load",
        "50 alerts a second on new and 50 on kept connections, over HTTP and as many over TLS, until the\n"
        "flow has ended. Lost are those that were not answered 202 within 3 s. Each 202 is stored once.",
        ("what", "alerts", "lost", "slowest answer, s"),
    ),
    "recovery": Table(
        "With nobody's help",
        "What ended, ten times each, and how long port 80 did not answer `/health` with 200 after that.",
        ("what", "tries", "longest, s"),
    ),
}


def tables(lines: Sequence[Line]) -> str:
    """Return the smaller tables that have lines; empty where none has. Pure."""
    found = ""
    for name, table in TABLES.items():
        mine = [line for line in lines if line.table == name]
        if mine:
            rows = [(*line.cells, _verdict(line.problems)) for line in mine]
            body = [(*table.columns, "verdict"), ["---"] * (len(table.columns) + 1), *rows]
            found += f"\n## {table.title}\n\n{table.about}\n\n" + "".join(map(_row, body))
    return found


def _verdict(problems: Sequence[str]) -> str:
    return "as it should be" if not problems else f"**{'; '.join(problems)}**"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def document(outcomes: Sequence[Outcome], *, commit: str, machine: str, lines: Sequence[Line] = ()) -> str:
    """Return the whole file, ending in a newline."""
    passed = sum(not one.problems for one in outcomes) + sum(not line.problems for line in lines)
    text = _HEAD.format(commit=commit, machine=machine, passed=passed, count=len(outcomes) + len(lines))
    if outcomes:
        text += "| | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|\n"
        text += "".join(_row((one.name, *one.cells, _verdict(one.problems))) for one in outcomes)
    return text + tables(lines)
