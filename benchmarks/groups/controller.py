"""The controller: the time of `run.py` compared with the programs it runs. All on a throw-away host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measurement import Measurement
from benchmarks.row import Result, Row, at_most, ratio_at_most

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.bench import Bench
    from tests.hosts.host import Host

STATUS = Row(
    "controller.status",
    "`--status-only`",
    "`python3 run.py --status-only` on a host that serves",
    "s",
    "a one-task play by `ansible-playbook`, same inventory and environment",
    ratio_at_most(2.5),
)
PLAN = Row(
    "controller.plan",
    "`--check`: what a run would do",
    "`python3 run.py --quick --check` on a host that serves",
    "s",
    "the same play",
)
HELP = Row(
    "controller.help",
    "`run.py --help` after the first run",
    "`python3 run.py --help`",
    "s",
    "`python3 -c pass`",
    at_most(0.35, "s"),
)
FIRST = Row(
    "controller.first_run",
    "first run in a fresh clone: environment ready",
    "`python3 -m deploy.bootstrap deploy`, with which every run begins; without an environment, package caches empty",
    "s",
    "the same `venv`, `pip` and `uv` commands by hand",
    ratio_at_most(1.3),
)
SIZE = Row("controller.size", "size of that environment", "`du` of `.venv`", "MB", budget=at_most(450, "MB"))

_ONE_TASK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: One task
      ansible.builtin.command: "true"
      changed_when: false
"""
_PLAYBOOK = "/srv/one_task.yml"
_FORGET_PACKAGES = "rm -rf ~/.cache"
_BY_HAND = """
set -e
python3 -m venv /srv/by-hand
pip="/srv/by-hand/bin/python -m pip"
$pip install --quiet --no-compile --require-hashes -r requirements/uv.txt
index=$($pip config get global.index-url 2>/dev/null || echo "${PIP_INDEX_URL:-}")
if [ -n "$index" ]; then export UV_DEFAULT_INDEX=$index; fi
/srv/by-hand/bin/python -m uv pip sync --quiet --python /srv/by-hand/bin/python --require-hashes requirements/deploy.txt
"""


def status(bench: Bench) -> Mapping[str, Result]:
    """Take the three in turn."""
    stack = bench.stack
    stack.host.write(_PLAYBOOK, _ONE_TASK)
    play = f"ANSIBLE_CONFIG={stack.project}/ansible.cfg .venv/bin/ansible-playbook -i inventory --limit local {_PLAYBOOK}"
    _time(stack.host, "python3 run.py --status-only", stack.project)
    figures, plans, references = bench.alternate(
        5,
        lambda: _time(stack.host, "python3 run.py --status-only", stack.project),
        lambda: _time(stack.host, "python3 run.py --quick --check", stack.project),
        lambda: _time(stack.host, play, stack.project),
    )
    return {STATUS.key: Result(figures, references), PLAN.key: Result(plans, references)}


def help_(bench: Bench) -> Mapping[str, Result]:
    """Take both in turn; the time to start `docker exec` is in both and is subtracted."""
    stack = bench.stack
    _time(stack.host, "python3 run.py --help", stack.project)
    figures, references, exec_ = bench.alternate(
        9,
        lambda: _time(stack.host, "python3 run.py --help", stack.project),
        lambda: _time(stack.host, "python3 -c pass", stack.project),
        lambda: _time(stack.host, "true", stack.project),
    )
    return {
        HELP.key: Result(
            tuple(figure - cost for figure, cost in zip(figures, exec_, strict=True)),
            tuple(reference - cost for reference, cost in zip(references, exec_, strict=True)),
        )
    }


def first_run(bench: Bench) -> Mapping[str, Result]:
    """Make the environment from nothing, each way in turn, both with nothing downloaded before."""
    stack = bench.stack

    def made_by(command: str, environment: str) -> float:
        stack.host.run(f"rm -rf {environment} && {_FORGET_PACKAGES}", folder=stack.project).require()
        return _time(stack.host, command, stack.project)

    figures, references = bench.alternate(
        3,
        lambda: made_by("python3 -m deploy.bootstrap deploy", ".venv"),
        lambda: made_by(_BY_HAND, "/srv/by-hand"),
    )
    size = stack.host.run("du --summarize --bytes .venv | cut -f1", folder=stack.project).require().stdout
    return {FIRST.key: Result(figures, references), SIZE.key: Result((int(size) / 1e6,))}


def _time(host: Host, command: str, folder: str) -> float:
    """Return the seconds of a command that must succeed."""
    return host.run(command, folder=folder, timeout=600).require().seconds


MEASUREMENTS = (
    Measurement("controller.status", (STATUS, PLAN), status, has_base=False),
    Measurement("controller.help", (HELP,), help_, has_base=False),
    Measurement("controller.first_run", (FIRST, SIZE), first_run, has_base=False),
)
