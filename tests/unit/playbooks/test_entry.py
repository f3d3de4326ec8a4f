"""How modules are entered: as a program, or in Ansible's own process on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from deploy.onhost import leftovers, lock
from tests.unit.playbooks.modules import COLLECTION, PLAYBOOKS, load

if TYPE_CHECKING:
    from pathlib import Path

MODULES = COLLECTION / "plugins" / "modules"
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Look
      signal_processor.stack.docker_facts:
      register: docker
      environment:
        PATH: /nowhere
    - name: Show
      ansible.builtin.copy:
        content: "{{ docker }}"
        dest: "{{ target }}"
      check_mode: false
"""


def as_program(name: str, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run the module as Ansible does on other hosts, and return its result."""
    from ansible.module_utils.testing import patch_module_args

    with patch_module_args(arguments), pytest.raises(SystemExit):
        load(name).MODULE.run()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    found.pop("invocation", None)
    return found


@pytest.mark.parametrize(
    ("name", "arguments", "failed"),
    [
        ("port_holders", {"ports": []}, None),
        ("port_holders", {"prts": []}, "missing required arguments: ports"),
        ("run_lock", {"path": "/nowhere", "state": "taken"}, "value of state must be one of"),
        ("stack_facts", {"services": {}, "volume": "v", "compare": "yes"}, "compare is"),
        ("checkout_facts", {"path": "/nowhere"}, "There is no checkout at /nowhere"),
    ],
)
def test_both_ways_give_the_same_result(
    name: str,
    arguments: dict[str, Any],
    failed: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [name])
    here = load(name).MODULE.call(arguments)
    there = as_program(name, arguments, capsys)
    assert here.get("failed", False) is there.get("failed", False) is (failed is not None)
    if failed is None:
        assert here == there
    else:
        assert failed in here["msg"]
        assert failed in there["msg"]


@pytest.mark.parametrize("ordinary", [False, True])
def test_on_this_machine_no_program_is_started(tmp_path: Path, *, ordinary: bool) -> None:
    """Our step starts no process, gets its environment and sets its fact. With --check Ansible runs it."""
    play, target = tmp_path / "play.yml", tmp_path / "docker.json"
    play.write_text(PLAY)
    argv = [sys.executable, "-m", "ansible", "playbook", "-vvv", "-i", "localhost,", "-c", "local", str(play)]
    argv += ["-e", f"target={target}", "-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(
        [*argv, *(["--check"] if ordinary else [])],
        env={**os.environ, "ANSIBLE_CONFIG": str(PLAYBOOKS.parent / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    look = done.stdout.partition("TASK [Show]")[0]
    assert ("EXEC" in look) is ordinary
    assert json.loads(target.read_text())["error"] == "docker is not installed"


@pytest.mark.parametrize("as_a_program", [False, True])
@pytest.mark.parametrize(
    ("holder", "run_id", "done"),
    [
        ("a" * 12, "a" * 12, True),
        ("b" * 12, "a" * 12, False),
        (None, "a" * 12, False),
        (None, "by-hand", True),
        ("b" * 12, "by-hand", False),
    ],
    ids=["its own lock", "taken over", "released", "by hand", "by hand beside a run"],
)
def test_a_step_that_changes_something_checks_the_lock(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    as_a_program: bool,
    holder: str | None,
    run_id: str,
    done: bool,
) -> None:
    """On this machine and on other hosts, for a command and for our own modules."""
    if holder:
        lock.take(tmp_path, lock.claim(holder, "quick"))
    monkeypatch.setenv(leftovers.MARK, run_id)
    monkeypatch.setattr(sys, "argv", ["module"])
    settings = tmp_path / "settings.json"
    steps: list[tuple[str, dict[str, Any]]] = [
        ("fenced_command", {"script": f"echo done > {tmp_path}/made"}),
        ("json_member", {"path": str(settings), "name": "paused", "value": True}),
    ]
    for name, arguments in steps:
        given = {"checkout": str(tmp_path), **arguments}
        found = as_program(name, given, capsys) if as_a_program else load(name).MODULE.call(given)
        assert found.get("failed", False) is not done
        assert done or "This step was not carried out." in found["msg"]
    assert ((tmp_path / "made").exists(), settings.exists()) == (done, done)


def test_every_step_that_swaps_moves_destroys_or_records_is_fenced() -> None:
    """A module that may change the stack, the checkout or the record names the checkout for it."""
    changing = (
        *("app_swap", "checkout_move", "config_backup", "database_backup", "fenced_command", "image_build"),
        *("one_off", "settings_file", "source_clone", "tree_modes"),
    )
    for name in changing:
        assert load(name).MODULE.fenced({"path": "/x", "checkout": "/x"}) == "/x", name
    for name, state, fenced in (
        ("version_record", "good", True),
        ("version_record", "bad", True),
        ("version_record", "chosen", False),
        ("database_access", "aligned", True),
        ("database_access", "answers", False),
        ("config_restore", "listed", False),
        ("config_restore", "chosen", False),
        ("config_restore", "placed", True),
        ("config_restore", "undone", True),
        ("update_source", "exported", True),
        ("update_source", "target", False),
    ):
        asked = {"path": "/x", "checkout": "/x", "state": state}
        assert bool(load(name).MODULE.fenced(asked)) is fenced, (name, state)
    roles = PLAYBOOKS.parent / "roles"
    harmless = {"images/tasks/ship.yml", "images/tasks/make.yml", "compose/tasks/profile.yml"}
    for file in (*roles.glob("*/tasks/*.yml"), *roles.glob("*/handlers/*.yml")):
        text = file.read_text("utf-8")
        bare = [
            part
            for part in text.split("- name: ")
            if (
                "ansible.builtin.command:" in part
                or "ansible.builtin.shell:" in part
                or "docker_compose" in part
            )
            and "docker" in part
            and "changed_when: false" not in part
        ]
        assert not bare or str(file.relative_to(roles)) in harmless, (file, bare)
    shipped = (roles / "images/tasks/ship.yml").read_text("utf-8").partition("- name: Load them\n")[2]
    assert shipped.lstrip().startswith("signal_processor.stack.fenced_command:")


def test_every_container_that_a_run_starts_for_itself_carries_its_id() -> None:
    """The id identifies it when the run has ended, whether a module or a role started it."""
    files = [*MODULES.glob("*.py"), *PLAYBOOKS.parent.glob("roles/*/tasks/*.yml")]
    started = 0
    for file in files:
        text = file.read_text("utf-8")
        # As a list of arguments, in Python or YAML, or as one line.
        for found in re.finditer(r'"run",\s+"--|^ *- run$|docker run ', text, re.MULTILINE):
            started += 1
            near = text[max(0, found.start() - 200) : found.start() + 200]
            assert "runs.LABEL" in near or "trading-signal-processor.run=" in near, (file, near)
    assert started >= 4
