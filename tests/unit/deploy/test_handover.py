"""Updates and rollbacks in the controller: their options, and which controller continues."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import bootstrap, cli, extra_vars, handover
from deploy.onhost import journal, leftovers, lock, runs
from deploy.request import Request
from deploy.summary import command_line
from tests.controller.checkout import REPOSITORY


def parse(line: str) -> Request:
    found = cli.parse(line.split())
    assert isinstance(found, Request)
    return found


@pytest.mark.parametrize(
    ("line", "version", "back"),
    [
        ("--rollback", "", True),
        ("--rollback 0123abcd", "0123abcd", True),
        ("--rollback 0123abcd --no-rollback", "0123abcd", False),
        ("--update --no-rollback", "", False),
    ],
)
def test_options_reach_the_playbook_and_the_next_command(line: str, version: str, *, back: bool) -> None:
    request = parse(line)
    assert (request.argument, request.rollback) == (version, back)
    variables = extra_vars.extra_variables(request, request.action)
    assert variables.get("versions_wanted", "") == version
    assert variables.get("versions_no_rollback", False) is not back
    assert command_line(request, [], everything=True) == f"python3 run.py {line}"


@pytest.mark.parametrize("line", ["--quick", "", "--stop", "--status-only"])
def test_no_rollback_is_an_option_of_flows_with_a_rollback(line: str) -> None:
    with pytest.raises(cli.UsageError, match="--no-rollback belongs to flows that can go back"):
        cli.parse([*line.split(), "--no-rollback"])


def found(**more: object) -> dict[str, object]:
    here = {
        "commit": "0" * 40,
        "tree": "/srv/tree",
        "changed_controller": ["run.py"],
        "on_this_machine": True,
    }
    return {**here, **more}


def test_the_controller_that_the_hosts_were_handed_to_continues() -> None:
    assert handover.tree_to_follow([found(successor="/srv/tree")]) == Path("/srv/tree")
    assert handover.tree_to_follow([found()]) is None


def test_a_controller_older_than_its_target_is_reported() -> None:
    assert handover.is_behind([found(on_this_machine=False)])
    assert not handover.is_behind([found(on_this_machine=False, changed_controller=[])])
    assert not handover.is_behind([found()])


TREE = Path("/srv/checkout/.run/releases/0123456789ab")
SETTLED = {"run_id": "abcdefabcdef", "checkout": "/srv/checkout", "commit": "0123"}
THIS_PROCESS = [os.getpid(), leftovers.started(os.getpid())]


@pytest.mark.parametrize("settled", [{**SETTLED, "process": THIS_PROCESS}, SETTLED], ids=["today", "earlier"])
def test_a_handover_is_read_once(monkeypatch: pytest.MonkeyPatch, settled: dict[str, object]) -> None:
    """Also of a controller of an earlier version, which does not record its process."""
    monkeypatch.setenv(handover.VARIABLE, json.dumps(settled))
    taken = handover.take(parse("--update"), TREE)
    assert (taken.run_id, taken.checkout, taken.commit) == ("abcdefabcdef", "/srv/checkout", "0123")
    variables = extra_vars.extra_variables(taken, taken.action)
    assert (variables["run_checkout"], variables["source_commit"]) == ("/srv/checkout", "0123")
    again = parse("--update")
    assert handover.take(again, TREE) is again  # what it starts does not inherit it


@pytest.mark.parametrize(
    ("given", "root"),
    [
        (json.dumps({**SETTLED, "process": [THIS_PROCESS[0], 1]}), TREE),
        (json.dumps({**SETTLED, "process": [1, leftovers.started(1)]}), TREE),
        (json.dumps(SETTLED), Path("/srv/checkout")),
        (json.dumps({**SETTLED, "checkout": "/srv/other"}), TREE),
        (json.dumps({"process": THIS_PROCESS}), TREE),
        ("", TREE),
        ("1", TREE),
        ("[]", TREE),
        ("{", TREE),
    ],
    ids=["started later", "another number", "another tree", "another checkout", "incomplete", *"abcd"],
)
def test_an_exported_variable_is_not_a_handover(
    monkeypatch: pytest.MonkeyPatch, given: str, root: Path
) -> None:
    """Another process, another tree, or no document: the run is independent, and ends no other run."""
    monkeypatch.setenv(handover.VARIABLE, given)
    request = parse("--update")
    assert handover.take(request, root) is request
    assert handover.VARIABLE not in os.environ
    monkeypatch.setenv(handover.VARIABLE, given)
    handover.give_up_unread(1, "no package index", root)
    assert handover.VARIABLE not in os.environ


def test_a_run_that_was_handed_over_leaves_no_environment_in_its_tree(tmp_path: Path) -> None:
    place = tmp_path / ".venv" / "bin"
    place.mkdir(parents=True)
    handover.tidy(parse("--update"), tmp_path)
    assert place.exists()
    handover.tidy(replace(parse("--update"), checkout="/srv/checkout"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_environment_of_another_tree_with_the_same_locks_is_as_good(tmp_path: Path) -> None:
    place = tmp_path / "checkout" / ".venv"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to("/bin/true")
    tree = tmp_path / "tree"
    shutil.copytree(REPOSITORY / "requirements", tree / "requirements")
    (place / bootstrap.STAMP).write_text(bootstrap.fingerprint(tree, "deploy", place), "utf-8")
    assert bootstrap.is_current(tree, "deploy", place)
    assert not bootstrap.is_current(tree, "deploy")
    (tree / "requirements" / "deploy.txt").write_text("another==1\n", "utf-8")
    assert not bootstrap.is_current(tree, "deploy", place)


def test_a_successor_that_cannot_continue_ends_the_open_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example, its environment cannot be made: lock and journal belong to the first controller."""
    runs.begin(tmp_path, lock.claim("abcdefabcdef", "update"))
    settled = {"run_id": "abcdefabcdef", "checkout": str(tmp_path), "commit": "0123456789ab"}
    monkeypatch.setenv(handover.VARIABLE, json.dumps({**settled, "process": [1, 1]}))
    handover.give_up_unread(1, "no package index", TREE)
    assert lock.holds(tmp_path, "abcdefabcdef")  # another run's lock
    monkeypatch.setenv(handover.VARIABLE, json.dumps({**settled, "process": THIS_PROCESS}))
    handover.give_up_unread(1, "no package index", TREE)
    assert lock.holder_in(tmp_path / ".run") is None
    (run,) = journal.runs(tmp_path, 5)
    assert (run["exit_code"], run["failure"]) == (1, "no package index")

    handover.give_up(str(tmp_path), "abcdefabcdef", 2, "it was closed already")
    assert journal.runs(tmp_path, 5) == [run]
