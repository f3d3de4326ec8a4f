"""THE table: flag → playbook. Parser, `--help`, the README's table and tests are made from it (SPEC §2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Action:
    """One flow: what the operator types, what runs, and what it may touch."""

    name: str  # `run_flow` in the playbooks, and the attribute the parser sets
    flags: tuple[str, ...]  # none for the default flow
    playbook: str | None  # under playbooks/; None streams directly
    label: str  # "Deploying …": the headline while it runs
    summary: str  # one line for --help and the README
    database: str = "kept"
    changes: bool = False  # may change anything on a host
    destructive: bool = False  # needs the project's name typed
    deploys: bool = False  # ends with a served version: --install-docker and the log flags may join
    shows_log: bool = False  # may be joined to a deploying flow, after it
    takes: str = ""  # name of the argument its flag takes, as --help shows it; [NAME]: it may be left out
    rolls_back: bool = False  # --no-rollback may join
    fetches: bool = False  # fetch.yml before it, and perhaps the target's own controller after that
    knobs: Mapping[str, Any] = field(default_factory=dict)  # extra variables of this row


ACTIONS: tuple[Action, ...] = (
    Action(
        name="site",
        flags=(),
        playbook="site.yml",
        label="Full deploy",
        summary="full deploy: image built without cache, app container replaced",
        changes=True,
        deploys=True,
    ),
    Action(
        name="quick",
        flags=("--quick",),
        playbook="quick.yml",
        label="Quick deploy",
        summary="deploy with a cached build; containers replaced only where something changed",
        changes=True,
        deploys=True,
    ),
    Action(
        name="update",
        flags=("--update", "--upgrade"),
        playbook="update.yml",
        label="Update",
        summary="back up configuration, pull, build without cache, swap only the app",
        database="kept, container untouched",
        changes=True,
        deploys=True,
        rolls_back=True,
        fetches=True,
    ),
    Action(
        name="quickupdate",
        flags=("--quickupdate", "--quickupgrade"),
        playbook="quickupdate.yml",
        label="Quick update",
        summary="the same with a cached build",
        database="kept, container untouched",
        changes=True,
        deploys=True,
        rolls_back=True,
        fetches=True,
    ),
    Action(
        name="stop",
        flags=("--stop",),
        playbook="stop.yml",
        label="Stop",
        summary="remove the containers; volumes and configuration stay",
        changes=True,
    ),
    Action(
        name="status",
        flags=("--status-only",),
        playbook="status.yml",
        label="Status",
        summary="containers, health, version, URLs; changes nothing (0 serving, 6 not)",
    ),
    Action(
        name="rollback",
        flags=("--rollback",),
        playbook="rollback.yml",
        label="Rollback",
        summary="back to the previous (or named) good version: image and code; health-gated",
        changes=True,
        deploys=True,
        takes="[VERSION]",
        rolls_back=True,
    ),
    Action(
        name="logs",
        flags=("--logs",),
        playbook="logs.yml",
        label="Log",
        summary="last 100 lines of the app's log; with a deploying flag, after it",
        shows_log=True,
        knobs={"status_log_lines": 100},
    ),
    Action(
        name="follow_logs",
        flags=("--follow-logs",),
        playbook=None,
        label="Following the log",
        summary="follow the app's log until Ctrl-C; with a deploying flag, after it",
        shows_log=True,
    ),
)

BY_NAME: dict[str, Action] = {action.name: action for action in ACTIONS}
DEFAULT = BY_NAME["site"]
STATUS = BY_NAME["status"]  # also asked after a failure: who serves now?
FETCH = "fetch.yml"  # what an update would bring, before the flow itself


def markdown_table() -> str:
    """The README's table of flags, one row per action, ending in a newline."""
    rows = [
        "| flag | playbook | what it does | database |",
        "|---|---|---|---|",
    ]
    for action in ACTIONS:
        typed = (f"`{flag} {action.takes}`" if action.takes else f"`{flag}`" for flag in action.flags)
        flags = ", ".join(typed) or "none"
        playbook = f"`{action.playbook}`" if action.playbook else "direct stream"
        database = f"**{action.database}**" if action.destructive else action.database
        rows.append(f"| {flags} | {playbook} | {action.summary} | {database} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(markdown_table(), end="")  # noqa: T201 - printing is what this command is for
