"""The backups of the configuration as lines for the operator. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a backup, in columns: name, time, flow, commit, and which of its files differ from today's."""
    rows = [(one["name"], one["made"], one["flow"], one["commit"][:12], differences(one)) for one in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ] or ["no configuration backup yet: --update, --rollback and --restore-config make one"]


def differences(backup: Mapping[str, Any]) -> str:
    """Which files of a backup differ from today's, and whether it can be put back at all."""
    differs = f"differs: {', '.join(backup['differs'])}" if backup["differs"] else "as today"
    without = f"not in it: {', '.join(backup['without'])}" if backup["without"] else ""
    problem = f"CANNOT BE PUT BACK: {backup['problem']}" if backup["problem"] else ""
    return "; ".join(filter(None, [problem, "" if problem and not backup["differs"] else differs, without]))
