"""Playbooks without run.py, on a host where the stack serves: refused, looked at, carried out."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.hosts.serving import serving_all_along
from tests.hosts.stack import APP, DATABASE, EDGE
from tests.hosts.state import state

if TYPE_CHECKING:
    from tests.hosts.docker import Result
    from tests.hosts.stack import Stack

pytestmark = pytest.mark.minutes(3)

INVENTORY = "/root/own.yml"
RECORDS = "git status --porcelain && cat .run/journal.jsonl"
# A process that takes the lock with the code of a run, and lives.
HOLDER = """
import time
from pathlib import Path
from deploy.onhost import lock
lock.take(Path("."), lock.claim("aaaaaaaaaaaa", "backup"))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module", autouse=True)
def inventory(stack: Stack) -> None:
    """Write an inventory that has nothing of the shipped one."""
    here = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "project_dir": stack.project,
    }
    known = {"desk": {"hosts": {"desk-1": None}, "vars": {**here, "app_privileges": "maximum"}}}
    stack.host.write(INVENTORY, json.dumps(known))


def play(stack: Stack, playbook: str, *arguments: str) -> Result:
    """Type `ansible-playbook` in the root of the file system."""
    path = f"{stack.project}/playbooks/{playbook}.yml"
    command = f"{stack.project}/.venv/bin/python -m ansible playbook -i {INVENTORY} {path}"
    return stack.host.run(" ".join([command, *arguments]), folder="/", timeout=600)


def test_what_is_not_confirmed_or_locked_touches_nothing(stack: Stack) -> None:
    """Another run holds the lock; then nobody does, and the confirmation is missing."""
    before = state(stack, RECORDS)
    with serving_all_along(stack):
        holder = stack.host.spawn(f"python3 -c {shlex.quote(HOLDER)}", folder=stack.project)
        assert holder.stdout is not None
        process = holder.stdout.readline().strip()
        try:
            assert holder.stdout.readline() == "held\n"
            refused = play(stack, "db", "-e", "confirm=trading-signal-processor")
        finally:
            stack.host.run(f"kill {process}").require()
            holder.communicate()
        assert refused.code == 2
        assert "belongs to run aaaaaaaaaaaa" in refused.output
        stack.run_py("--unlock").require()

        refused = play(stack, "db")
        assert refused.code == 2
        assert "add: -e confirm=trading-signal-processor" in refused.output
    assert state(stack, RECORDS) ^ before == set()


def test_a_look_ahead_shows_what_a_deployment_then_does(stack: Stack) -> None:
    """A changed setting: the app is replaced, and nothing else."""
    stack.configure(LOG_LEVEL="DEBUG")
    before, containers = state(stack, RECORDS), stack.containers()
    looked = play(stack, "quick", "--check", "--diff").require()
    assert "would do this; nothing was touched." in looked.output
    assert any(line.split()[:3] == ["App", "container", "yes"] for line in looked.output.splitlines())
    assert state(stack, RECORDS) ^ before == set()

    done = play(stack, "quick").require()
    assert "Quick deploy done in " in done.output
    assert "not as planned" not in done.output
    now = stack.containers()
    assert now[APP] != containers[APP]
    assert (now[DATABASE], now[EDGE]) == (containers[DATABASE], containers[EDGE])
    (journal,) = json.loads(stack.run_py("--history", "-e", "journal_runs=1", "--json").require().stdout)[
        "hosts"
    ].values()
    assert [(run["flow"], run["exit_code"]) for run in journal["history"]] == [("quick", 0)]

    again = json.loads(stack.run_py("--quick", "--json").require().stdout)["hosts"]["localhost"]
    assert [step["step"] for step in again["plan"] if step["changes"] == "yes"] == []
    assert stack.containers() == now
