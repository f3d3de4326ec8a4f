"""The alert rules and the dashboard name metrics, alarms and severities that exist."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from app.alarms.alarm import CODES
from app.metrics import PREFIX
from tests.unit.monitoring import DASHBOARD, RULES, queries

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def existing() -> set[str]:
    """The names of all series of the application."""
    families = [family for family in REGISTRY.collect() if family.name.startswith(PREFIX)]
    return {family.name + suffix for family in families for suffix in SUFFIXES.get(family.type, ("",))}


def codes_in(query: str) -> set[str]:
    """The codes that a query selects, or leaves out."""
    return {code for listed in re.findall(r"code[=!]~[\"']([^\"']*)", query) for code in listed.split("|")}


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_every_metric_of_a_query_exists(path: Path) -> None:
    named = {name for query in queries(path) for name in re.findall(rf"\b{PREFIX}\w+", query)}
    assert len(named) >= 5
    assert named - existing() == set()


def test_rules_know_the_severity_of_every_alarm() -> None:
    """All others are warnings, so a new code is an alert without a change of the rules."""
    by_severity: dict[str, set[str]] = {}
    for code, severity in CODES.items():
        by_severity.setdefault(severity, set()).add(code)
    found = [codes_in(query) for query in queries(RULES) if "tsp_alarm{code" in query]
    assert found == [by_severity["critical"], by_severity["info"], by_severity["info"]]


def test_each_panel_has_its_own_place_and_number() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in panels)
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < 24
