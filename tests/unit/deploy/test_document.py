"""The schema in docs/ describes the document: it has every member and no other."""

from __future__ import annotations

import json
from typing import Any

from deploy import summary
from deploy.actions import BY_NAME
from deploy.events import RunState
from deploy.exitcodes import ExitCode
from deploy.request import Request
from deploy.verdict import Outcome, judge
from tests.hosts import document


def written(recorded: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the document of the recorded run."""
    state = RunState(["a", "b", "c", "d"])
    for event in recorded:
        state.apply(event)
    action = BY_NAME["quick"]
    verdict = judge(state, action, ansible_status=2, interrupted=False)
    return summary.document(summary.Ending(Request(action), state, verdict, seconds=12.34))


def test_a_recorded_run_is_described_member_by_member(recorded: list[dict[str, Any]]) -> None:
    found = written(recorded)
    document.check(json.dumps(found))
    schema = json.loads(document.SCHEMA.read_text("utf-8"))["$defs"]
    assert set(found) == set(schema["ended"]["properties"])
    assert set(found["hosts"]["b"]) == set(schema["host"]["properties"])
    assert set(found["hosts"]["b"]["failure"]) == set(schema["host"]["properties"]["failure"]["properties"])
    assert set(found["steps"][0]) == set(schema["step"]["properties"])


def test_every_code_and_every_outcome_is_in_it() -> None:
    schema = json.loads(document.SCHEMA.read_text("utf-8"))["$defs"]
    assert set(schema["code"]["enum"]) == {int(code) for code in ExitCode}
    assert set(schema["host"]["properties"]["outcome"]["enum"]) == {str(one) for one in Outcome}
