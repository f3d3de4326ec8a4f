"""The role `legacy`: what it stops, starts again and removes, and how its playbook differs from `--quick`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.unit.engine import World
from tests.unit.playbooks.modules import PLAYBOOKS, load, role_tasks

ROLES = Path(__file__).parents[3] / "roles"
DATABASE, APP, CACHE = "trading-db", "trading-signal-processor", "old-cache"
FOUND: dict[str, Any] = {
    "kind": "stack",
    "what": f"container {DATABASE}",
    "container": DATABASE,
    "is_running": True,
    "stop": [APP, CACHE],
    "remove": [DATABASE, APP, CACHE],
    "policies": {DATABASE: "unless-stopped", APP: "unless-stopped", CACHE: "no"},
    "ports": [80, 5432],
    "volume": "old_postgres_data",
    "folder": "/srv/old",
    "leaving": [DATABASE, APP, CACHE],
    "cut_off": [],
    "note": "stopped.json",
}


class Role:
    """The role's variables and tasks, with what `source` found."""

    def __init__(self, **found: Any) -> None:
        self._loader = DataLoader()
        files = ["legacy/defaults", "legacy/vars", "project/defaults", "project/vars"]
        self.variables: dict[str, Any] = {"legacy_looked": {"source": {**FOUND, **found}}}
        for name in files:
            path = str(ROLES / name / "main.yml")
            self.variables.update(self._loader.load_from_file(path, trusted_as_template=True))

    def render(self, value: Any) -> Any:
        """Return a value with its templates filled in."""
        return Templar(self._loader, self.variables).template(value)

    def task(self, name: str, entry: str = "dump") -> Any:
        """Return a task of an entry point."""
        tasks = self._loader.load_from_file(
            str(ROLES / f"legacy/tasks/{entry}.yml"), trusted_as_template=True
        )
        listed = [one for task in tasks for one in (task, *task.get("block", []), *task.get("rescue", []))]
        (wanted,) = (task for task in listed if task["name"] == name)
        return wanted

    def script(self, name: str) -> str:
        """Return the script of a task of `dump.yml`."""
        return str(self.render(self.task(name)["signal_processor.stack.fenced_command"]["script"]))

    def report(self, name: str, entry: str = "dump") -> dict[str, Any]:
        """Return `host_report` as a task leaves it."""
        task = self.task(name, entry)
        mine = Role()
        mine.variables = self.variables | task.get("vars", {})
        self.variables["host_report"] = mine.render(task["ansible.builtin.set_fact"]["host_report"])
        return dict(self.variables["host_report"])


def container(name: str, policy: str, *, running: bool = True) -> dict[str, Any]:
    """Return a container as the engine describes it."""
    return {
        "Id": name,
        "Image": "sha256:one",
        "RestartCount": 0,
        "State": {"Status": "running" if running else "exited", "Running": running},
        "HostConfig": {"PortBindings": {}, "RestartPolicy": policy},
        "Config": {"Labels": {}},
    }


def run(script: str, folder: Path, *, code: int = 0) -> None:
    """Run a script with the simulated engine."""
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={**os.environ, "PATH": path}, cwd=folder, check=False, timeout=60
    )
    assert done.returncode == code


def test_the_application_is_stopped_started_again_and_removed(tmp_path: Path) -> None:
    """After a power cut the stopped ones start by themselves; after a failure all is as before."""
    world = World(tmp_path)
    policies = FOUND["policies"]
    world.set({name: container(name, policy) for name, policy in policies.items()})
    role = Role()

    run(role.script("Stop the replaced application"), tmp_path)
    assert {name: one["State"]["Running"] for name, one in world["containers"].items()} == {
        DATABASE: True,
        APP: False,
        CACHE: False,
    }
    assert world["containers"][APP]["HostConfig"]["RestartPolicy"] == "always"

    run(role.script("Start again what ran"), tmp_path)
    assert all(one["State"]["Running"] for one in world["containers"].values())
    found = {name: one["HostConfig"]["RestartPolicy"] for name, one in world["containers"].items()}
    assert found == policies

    assert not (tmp_path / "stopped.json").exists()

    run(role.script("Stop the replaced application"), tmp_path)
    run(role.script("Remove the containers of the replaced system"), tmp_path)
    assert world["containers"] == {}
    assert not (tmp_path / "stopped.json").exists()


def test_after_a_killed_run_a_dump_that_fails_starts_again_what_that_run_had_stopped(tmp_path: Path) -> None:
    """Until then neither a failure nor the plan takes the application for stopped by its operator."""
    world = World(tmp_path)
    world.set({name: container(name, policy) for name, policy in FOUND["policies"].items()})
    run(Role().script("Stop the replaced application"), tmp_path)
    world.set(world["containers"] | {DATABASE: container(DATABASE, "unless-stopped", running=False)})

    # Killed here. What the next run finds of it:
    legacy = load("module_utils.legacy_sources")
    (tmp_path / ".run").mkdir()
    (tmp_path / "stopped.json").rename(tmp_path / legacy.STOPPED)
    found = legacy.with_stopped(FOUND | {"is_running": False, "stop": [], "policies": {}}, tmp_path)
    assert (found["stop"], found["cut_off"]) == ([APP, CACHE], [APP, CACHE])
    role = Role(new_volume="", **found)
    role.variables["legacy_settings"] = {"lines": []}
    report = role.report("Name what comes and what cannot", "settings")
    assert report["unchanged"] is False
    assert report["left"].endswith(f"docker start {DATABASE} {APP} {CACHE}")

    run(role.script("Start again what ran"), tmp_path)
    assert all(one["State"]["Running"] for one in world["containers"].values())
    policies = {name: one["HostConfig"]["RestartPolicy"] for name, one in world["containers"].items()}
    assert policies == FOUND["policies"]
    assert legacy.with_stopped(FOUND, tmp_path)["cut_off"] == []


def test_what_cannot_be_started_again_is_left_and_named() -> None:
    for code, left in ((0, ""), (1, f"docker start {DATABASE} {APP} {CACHE}")):
        role = Role()
        role.variables["legacy_started"] = {"rc": code}
        report = role.report("Say whether all is as it was")
        assert report["unchanged"] is (code == 0)
        assert report["left"].endswith(left)
        assert bool(report["left"]) == bool(left)


@pytest.mark.parametrize(
    ("found", "left"),
    [({}, f"docker start {DATABASE} {APP} {CACHE}"), ({"stop": [], "is_running": False}, "")],
)
def test_a_failure_leaves_what_serves_until_the_application_is_stopped(
    found: dict[str, Any], left: str
) -> None:
    """So that a failed build or check ends with the exit code of that."""
    role = Role(new_volume="", **found)
    role.variables["legacy_settings"] = {"lines": ["variable: TOP_N came"]}
    settings = role.report("Name what comes and what cannot", "settings")
    assert settings == {"notes": ["variable: TOP_N came"], "unchanged": True}
    dump = role.report("Say what is left if the run is cut off")
    assert dump["unchanged"] is False
    assert dump["left"].endswith(left)
    assert bool(dump["left"]) == bool(left)
    role = Role(kind="dump", new_volume="")
    role.variables["legacy_settings"] = {"lines": []}
    assert role.report("Name what comes and what cannot", "settings")["unchanged"] is False


def test_a_container_that_is_not_of_a_project_is_only_stopped(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.set({"mine": container("mine", "no")})
    role = Role(container="mine", remove=[], stop=[], policies={"mine": "no"})
    run(role.script("Remove the containers of the replaced system"), tmp_path)
    assert {name: one["State"]["Running"] for name, one in world["containers"].items()} == {"mine": False}


def test_ports_of_the_replaced_system_count_as_free() -> None:
    role = Role()
    role.variables |= {
        "project_leaving_ports": FOUND["ports"],
        "project_stack": {"stack": {"containers": {}}},
        "project_definition": {"definition": {"ports": [{"port": 80}, {"port": 8008}]}},
    }
    assert role.render(role.variables["project_ports"]) == [{"port": 8008}]


@pytest.mark.parametrize("looked", [{}, {"source": {"error": "there is no such file"}}])
def test_the_plan_of_other_flows_has_nothing_of_it(looked: dict[str, Any]) -> None:
    role = Role()
    role.variables["legacy_looked"] = looked
    found = role.render(role.variables["legacy_plan"])
    assert (found["kind"], found["stop"], found["variables"]) == ("", [], [])


def roles_of(play: dict[str, Any]) -> list[tuple[str, str | None, Any, Any]]:
    """Return role, entry point, tags and environment of the tasks of a play."""
    found = []
    for task in role_tasks(play["tasks"]):
        role = task.get("ansible.builtin.import_role") or task["ansible.builtin.include_role"]
        found.append((role["name"], role.get("tasks_from"), task.get("tags"), task.get("environment")))
    return found


def test_it_deploys_as_quick_does() -> None:
    """Each play has the roles of `--quick`, in that order, and those of `legacy`."""
    quick, importing = (
        [play for play in DataLoader().load_from_file(str(PLAYBOOKS / f"{name}.yml")) if "tasks" in play]
        for name in ("quick", "import_legacy")
    )
    for one, other in zip(quick, importing, strict=True):
        assert [role for role in roles_of(other) if role[0] != "legacy"] == roles_of(one)
        same = ("name", "hosts", "environment", "tags", "any_errors_fatal", "serial")
        assert [one.get(key) for key in same] == [other.get(key) for key in same]
    order = [role[:2] for role in roles_of(importing[2])]
    assert order.index(("legacy", "dump")) == order.index(("compose", "check")) + 1
    assert order.index(("legacy", "dump")) < order.index(("compose", "database"))
    assert importing[2]["vars"]["compose_leaving"] == importing[0]["vars"]["project_leaving"]
    assert order.index(("legacy", "import")) == order.index(("database", "migrate")) + 1
    assert order.index(("legacy", "import")) < order.index(("compose", "standin"))
    assert order[-2:] == [("legacy", "imported"), ("status", None)]
