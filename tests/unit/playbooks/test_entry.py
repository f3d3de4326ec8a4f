"""How modules are entered: as a program, or in Ansible's own process on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.playbooks.modules import PLAYBOOKS, load

if TYPE_CHECKING:
    from pathlib import Path

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Look
      docker_facts:
      environment:
        PATH: /nowhere
    - name: Show
      ansible.builtin.copy:
        content: "{{ docker }}"
        dest: "{{ target }}"
      check_mode: false
"""


def as_program(name: str, arguments: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run the module as Ansible does elsewhere; what it answers."""
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
        (
            "stack_facts",
            {"project": "p", "services": {}, "app": "a", "volume": "v", "compare": "yes"},
            "compare is",
        ),
        ("checkout_facts", {"path": "/nowhere"}, "There is no checkout at /nowhere"),
    ],
)
def test_both_ways_give_the_same(
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
    """A step of ours starts nothing, has its environment, leaves its fact. With --check it is Ansible's."""
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
