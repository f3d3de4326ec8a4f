"""The alert rules and the dashboard: their files, and the queries in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parents[2] / "monitoring"
RULES, DASHBOARD = FOLDER / "alerts.yml", FOLDER / "dashboard.json"
_VARIABLES = {"$instance": ".*", "$__rate_interval": "1m"}  # of the dashboard, as Grafana fills them


def queries(path: Path) -> list[str]:
    """Return every query of the file, with the dashboard's variables filled."""
    text = path.read_text("utf-8")
    found = list(_expressions(json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)))
    for name, value in _VARIABLES.items():
        found = [query.replace(name, value) for query in found]
    return found


def _expressions(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("expr"), str):
            yield part["expr"]
        for value in part.values():
            yield from _expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from _expressions(value)
