"""A playbook without run.py: its row in the table, its variables and environment, its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from deploy.actions import ACTIONS, PROJECT, Action
from deploy.by_hand import Run, action_of, environment
from deploy.masking import Mask

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
OF_THE_TABLE = [action.playbook for action in ACTIONS if action.playbook] + [
    action.lists for action in ACTIONS if action.lists
]


def run_of(playbook: str, given: dict[str, Any] | None = None, *, check: bool = False) -> Run:
    return Run(playbook, given or {}, Mask([]), check=check)


def event(kind: str, task: str, host: str = "a", **data: object) -> dict[str, Any]:
    return {"event": kind, "event_data": {"host": host, "task": task, **data}}


def taken(run: Run, **answer: object) -> None:
    """Let the run ask for its lock, with this answer."""
    run.apply({"event": "playbook_on_play_start", "event_data": {"name": "Lock"}})
    run.apply(event("runner_on_start", "Take the lock"))
    facts = {"host_report": {"lock": {"taken": True, "kept": False, "replaced": None, **answer}}}
    run.apply(event("runner_on_ok", "Take the lock", res={"ansible_facts": facts}))


@pytest.mark.parametrize("playbook", OF_THE_TABLE)
def test_every_playbook_of_the_table_begins_with_its_own_name(playbook: str) -> None:
    """So that without run.py it is confirmed, locked and summed up as the row of the table says."""
    first = yaml.safe_load((PLAYBOOKS / playbook).read_text("utf-8"))[0]
    name = first["vars"]["by_hand_playbook"]
    assert f"{name}.yml" == playbook
    action = action_of(name)
    assert playbook in (action.playbook, action.lists)
    imported = first["ansible.builtin.import_playbook"]
    if imported != "by_hand.yml":  # the playbook of another row, whose name is overridden
        assert imported in OF_THE_TABLE


def test_a_playbook_that_is_in_no_row_has_no_action() -> None:
    with pytest.raises(KeyError, match="nothing"):
        action_of("nothing")


@pytest.mark.parametrize("action", [one for one in ACTIONS if one.playbook], ids=lambda one: one.name)
def test_locks_and_destruction_come_from_the_table(action: Action) -> None:
    name = str(action.playbook).removesuffix(".yml")
    variables = run_of(name).variables
    assert variables["by_hand_locks"] is action.changes
    assert variables["by_hand_destroys"] == list(action.destroys)
    assert variables["run_flow"] == variables["lock_claim"]["flow"] == action.name
    assert variables["run_id"] == variables["lock_claim"]["run_id"]
    assert variables.items() >= dict(action.extra_variables).items()
    ahead = run_of(name, check=True).variables
    assert (ahead["by_hand_locks"], ahead["plan_only"]) == (False, True)


@pytest.mark.parametrize(
    ("word", "confirmed"), [(PROJECT, True), ("yes", False), (None, False), (True, False)]
)
def test_only_the_projects_name_confirms(word: object, *, confirmed: bool) -> None:
    assert run_of("db", {"confirm": word}).variables["by_hand_confirmed"] is confirmed


def test_what_was_given_is_not_replaced() -> None:
    """A path is looked for where the command was typed; a playbook that needs a value names it."""
    variables = run_of("restore", {"database_restore_file": "a.dump"}).variables
    assert "database_restore_file" not in variables
    assert variables["database_restore_folder"] == str(Path.cwd())
    needs = {
        name: run_of(name).variables["by_hand_argument"] for name in ("restore", "maintenance", "rollback")
    }
    assert needs == {
        "restore": "database_restore_file",
        "maintenance": "compose_maintenance",
        "rollback": "",
    }
    assert run_of("maintenance").variables["by_hand_words"] == ["on", "off"]


def test_a_listing_changes_nothing() -> None:
    assert run_of("config_backups").variables["by_hand_locks"] is False
    assert run_of("restore_config").variables["by_hand_locks"] is True


def test_the_environment_keeps_what_configures_ansible() -> None:
    """Everything else is that of run.py."""
    exported = {
        "ANSIBLE_REMOTE_USER": "ops",
        "AWX_HOST": "x",
        "PATH": "/bin",
        "GIT_DIR": "/",
        "PYTHONPATH": "/",
    }
    kept = {"ANSIBLE_REMOTE_USER": "ops", "AWX_HOST": "x", "PATH": "/bin", "LANG": "C.UTF-8"}
    assert environment({**exported, "LANG": "C"}, "C.UTF-8") == kept


def test_a_refused_lock_is_reported_with_its_holder() -> None:
    """Exit code 7 of run.py; nothing is written to the journal of the other run."""
    run = run_of("quick")
    run.apply({"event": "playbook_on_play_start", "event_data": {"name": "Lock"}})
    run.apply(event("runner_on_start", "Take the lock"))
    facts = {"host_report": {"lock": {"taken": False, "holder": {"run_id": "b"}}}}
    run.apply(event("runner_on_failed", "Take the lock", res={"ansible_facts": facts, "msg": "it is held"}))
    run.apply({"event": "playbook_on_stats", "event_data": {"failures": {"a": 1}, "dark": {}}})
    assert (run.doubtful, run.end({})) == ([], {})
    assert "another run holds the lock" in run.summary()[0]


@pytest.mark.parametrize(
    ("found", "code"), [({"serving": True}, 5), ({"serving": False}, 6), ({}, 6)], ids=str
)
def test_a_failure_is_judged_by_what_serves(found: dict[str, Any], code: int) -> None:
    """A diagnosis that failed found nothing: that counts as not serving, whatever was reported before."""
    run = run_of("quick")
    taken(run)
    run.apply({"event": "playbook_on_play_start", "event_data": {"name": "Deploy"}})
    report = {"ansible_facts": {"host_report": {"serving": True}}}
    run.apply(event("runner_on_ok", "Report", res=report))
    run.apply(event("runner_on_start", "Swap"))
    run.apply(event("runner_on_failed", "Swap", res={"msg": "the port is taken"}))
    run.apply({"event": "playbook_on_stats", "event_data": {"failures": {"a": 1}, "dark": {}}})
    assert run.doubtful == ["a"]
    lines = run.end({"a": found})
    assert (lines["a"]["exit_code"], lines["a"]["failure"]) == (code, "Swap: the port is taken")


def test_a_lock_that_was_left_behind_is_reported_once() -> None:
    run = run_of("stop")
    taken(run, replaced={}, why="its process 7 is gone")
    run.apply(event("runner_on_ok", "Report", res={"ansible_facts": {"host_report": {"serving": False}}}))
    run.apply({"event": "playbook_on_stats", "event_data": {"failures": {}, "dark": {}}})
    assert run.end({})["a"]["exit_code"] == 0
    assert (
        "\n".join(run.summary()).count("took over the lock of somebody unknown: its process 7 is gone") == 1
    )


def test_the_lock_of_the_checkout_is_asked_for_by_one_host_at_a_time() -> None:
    """All hosts of a run ask for that one lock, and may be many."""
    tasks = yaml.safe_load((PLAYBOOKS.parent / "roles/by_hand/tasks/main.yml").read_text("utf-8"))
    (task,) = (
        task for task in tasks if task.get("signal_processor.stack.run_lock", {}).get("state") == "held"
    )
    assert (task["delegate_to"], task["throttle"]) == ("localhost", 1)
