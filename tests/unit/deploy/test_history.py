"""The journal as the operator reads it."""

from __future__ import annotations

from typing import Any

import pytest

from deploy import history

RUN = {
    "run_id": "a" * 12,
    "flow": "update",
    "user": "alice",
    "machine": "ops1",
    "started": "2026-11-24T10:00:00Z",
    "ended": "2026-11-24T10:01:30Z",
    "exit_code": 0,
    "from": "0123456789ab",
    "to": "fedcba987654",
    "failure": None,
    "running": False,
}


def test_one_line_has_actor_flow_time_versions_and_outcome() -> None:
    assert history.lines([RUN]) == [
        "2026-11-24T10:00:00Z  --update  alice@ops1  0123456789ab → fedcba987654  done (0, 90 s)"
    ]


def test_the_commits_of_a_run_are_listed_below_it() -> None:
    lines = history.lines([{**RUN, "commits": ["+ 1234567 Add a thing", "- 7654321 Drop a thing"]}])
    assert lines[1:] == ["    + 1234567 Add a thing", "    - 7654321 Drop a thing"]


def test_a_restoration_names_the_backup() -> None:
    plan = [{"step": "Image", "changes": "depends", "why": "no"}]
    plan += [{"step": "Configuration", "changes": "yes", "why": "as in backups/BACKUP again: .env"}]
    lines = history.lines([{**RUN, "flow": "restore_config", "plan": plan}])
    assert "  --restore-config  " in lines[0]
    assert lines[1:] == ["    as in backups/BACKUP again: .env"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exit_code": 5}, "FAILED, the old version served (5, 90 s)"),
        ({"exit_code": 130}, "interrupted (130, 90 s)"),
        ({"exit_code": 99}, "exit code 99 (99, 90 s)"),
        ({"exit_code": None, "ended": None}, "interrupted: its end is not known"),
        ({"exit_code": None, "ended": None, "running": True}, "at work"),
    ],
)
def test_every_outcome_has_a_text(changes: dict[str, Any], said: str) -> None:
    assert history.ending({**RUN, **changes}) == said


def test_columns_are_aligned_and_a_failure_is_listed_below() -> None:
    failed = {**RUN, "flow": "site", "exit_code": 5, "to": RUN["from"], "failure": "images: Build: exit 9"}
    lines = history.lines([RUN, failed, {**RUN, "flow": "of-another-version", "from": "", "to": ""}])
    assert lines[0].index("alice") == lines[1].index("alice") == lines[3].index("alice")
    assert "full deploy" in lines[1]
    assert lines[2] == "    images: Build: exit 9"
    assert "of-another-version" in lines[3]
    assert "  nothing  " in lines[3]
    assert history.lines([]) == ["no run yet"]
