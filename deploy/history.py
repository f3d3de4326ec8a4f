"""The journal's runs as lines for the operator. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from deploy.actions import BY_NAME
from deploy.exitcodes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN = {"Configuration"}  # steps whose reason says what the run was for

_ENDINGS = {
    ExitCode.DONE: "done",
    ExitCode.INTERNAL: "internal error",
    ExitCode.PRECONDITION: "a precondition failed, nothing changed",
    ExitCode.UNREACHABLE: "a host was unreachable",
    ExitCode.OLD_VERSION_SERVES: "FAILED, the old version served",
    ExitCode.NOT_SERVING: "FAILED, nothing served",
    ExitCode.LOCKED: "another run held the lock",
    ExitCode.INTERRUPTED: "interrupted",
}


def lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a run, in columns; below it the commits that it brought, and why it failed."""
    rows = [
        (
            run["started"],
            _flag(str(run["flow"])),
            f"{run['user']}@{run['machine']}",
            _versions(run),
            ending(run),
        )
        for run in runs
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    found = []
    for run, row in zip(runs, rows, strict=True):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        found.append("  ".join(cells).rstrip())
        found += [f"    {commit}" for commit in run.get("commits") or []]
        found += [f"    {step['why']}" for step in run.get("plan") or [] if step["step"] in _SHOWN]
        if run.get("failure"):
            found.append(f"    {run['failure']}")
    return found or ["no run yet"]


def unfinished(run: Mapping[str, Any]) -> str:
    """The run whose end is not noted: who is at work, or what was cut off and how it goes on."""
    who = f"{_flag(str(run['flow']))} (run {run['run_id']}) by {run['user']} on {run['machine']}"
    if run.get("running"):
        return f"at work: {who} since {run['started']}"
    return f"CUT OFF: {who}, begun {run['started']}; its end is not known. Type the same again to finish it"


def ending(run: Mapping[str, Any]) -> str:
    """How a run ended, in words."""
    if run["exit_code"] is None:
        return "at work" if run.get("running") else "interrupted: its end is not known"
    seconds = (datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["started"])).total_seconds()
    said = _ENDINGS.get(run["exit_code"], f"exit code {run['exit_code']}")
    return f"{said} ({run['exit_code']}, {seconds:.0f} s)"


def _flag(flow: str) -> str:
    """As it was typed; a flow of another version of run.py by its name."""
    action = BY_NAME.get(flow)
    return action.flags[0] if action and action.flags else "full deploy" if action else flow


def _versions(run: Mapping[str, Any]) -> str:
    before, after = run.get("from") or "nothing", run.get("to") or "nothing"
    if run["exit_code"] is None:
        return f"from {before}"
    return before if before == after else f"{before} → {after}"
