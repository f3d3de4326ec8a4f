"""Roles that destroy or replace a database: how they stop what accepts signals, app and stand-in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.unit.engine import World

TASKS = Path(__file__).parents[3] / "roles" / "database"
APP, STANDIN, DATABASE = "trading-signal-processor", "trading-signal-processor-standin", "trading-db"


def container(name: str, state: str = "running") -> dict[str, Any]:
    """Return a container as the engine describes it."""
    return {
        "Id": name,
        "Image": "sha256:one",
        "RestartCount": 0,
        "State": {"Status": state, "Running": state == "running", "Health": {"Status": "healthy"}},
        "HostConfig": {"PortBindings": {}, "RestartPolicy": "unless-stopped"},
        "Config": {"Labels": {}},
    }


class Host:
    """A simulated engine, and the facts that the flow gathered of it at its start."""

    def __init__(self, folder: Path, *running: str) -> None:
        self._folder = folder
        self.world = World(folder)
        self.world.set({name: container(name) for name in running})
        services = {"postgres": DATABASE, APP: APP}
        self._loader = DataLoader()
        self._variables: dict[str, Any] = {
            **self._loader.load_from_file(str(TASKS / "vars" / "main.yml"), trusted_as_template=True),
            "compose_app": APP,
            "compose_database": "postgres",
            "compose_standin_container": STANDIN,
            "compose_services": {service: {"container": name} for service, name in services.items()},
            "compose_volume": "volume",
            "database_stack_before": {
                "containers": {
                    service: {"name": name, "state": "running"}
                    for service, name in services.items()
                    if name in running
                },
                "summary": [{"name": name, "state": "running"} for name in running],
            },
        }

    def render(self, text: str) -> Any:
        """Return the value of a variable."""
        return Templar(self._loader, self._variables).template(self._variables[text])

    def run(self, file: str, number: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the script of a task as the module does."""
        tasks = self._loader.load_from_file(str(TASKS / "tasks" / f"{file}.yml"), trusted_as_template=True)
        script = Templar(self._loader, self._variables).template(
            tasks[number]["signal_processor.stack.fenced_command"]["script"]
        )
        path = f"{self._folder}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/sh", "-c", script],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.parametrize("running", [(APP,), (STANDIN,), (APP, STANDIN), ()])
def test_nothing_accepts_signals_once_the_database_is_copied(
    tmp_path: Path, running: tuple[str, ...]
) -> None:
    """Also where a flow that failed has left only a stand-in that serves. A power cut brings all back."""
    host = Host(tmp_path, DATABASE, *running)
    assert host.run("stop_app").returncode == 0
    assert set(host.world.running) == {DATABASE}
    host.world.cut_power()
    assert set(host.world.running) == {DATABASE, *running}


@pytest.mark.parametrize("running", [(APP,), (STANDIN,), (APP, STANDIN)])
def test_what_ran_runs_again_where_nothing_was_destroyed(tmp_path: Path, running: tuple[str, ...]) -> None:
    """The edge may send requests to the stand-in, and would answer 503 without it."""
    host = Host(tmp_path, DATABASE, *running)
    host.run("stop_app")
    assert host.render("database_ran") == [DATABASE, *running]
    assert host.run("take_back").returncode == 0
    containers = host.world["containers"]
    assert set(host.world.running) == {DATABASE, *running}
    assert {containers[name]["HostConfig"]["RestartPolicy"] for name in running} == {"unless-stopped"}


@pytest.mark.parametrize("name", [APP, STANDIN])
def test_a_database_is_not_destroyed_while_something_accepts_signals(tmp_path: Path, name: str) -> None:
    host = Host(tmp_path, DATABASE, APP, STANDIN)
    host.run("stop_app")
    host.world.carry_out("start", name)
    done = host.run("destroy")
    assert (done.returncode, f"error: {name} runs again" in done.stderr) == (1, True)
    assert host.world["containers"].keys() == {DATABASE, APP, STANDIN}


def test_the_stand_in_goes_with_the_database(tmp_path: Path) -> None:
    host = Host(tmp_path, DATABASE, APP, STANDIN)
    host.run("stop_app")
    assert host.run("destroy").returncode == 0
    assert host.world["containers"].keys() == {APP}


def test_an_image_that_cannot_prepare_a_restored_database_is_named_with_the_way_out() -> None:
    loader = DataLoader()
    (restore,) = (
        task
        for task in loader.load_from_file(str(TASKS / "tasks" / "restore.yml"), trusted_as_template=True)
        if "rescue" in task
    )
    words = restore["rescue"][-1]["vars"]

    def why(message: str) -> str:
        failed = {"rc": 2, "stderr": f"usage\n{message}", "stderr_lines": ["usage", message]}
        variables = {**words, "ansible_failed_result": failed, "inventory_hostname": "local"}
        variables["database_archive_path"] = "a.dump"
        return str(Templar(loader, variables).template(words["database_why"]))

    end = "a.dump could not be restored on local, the database is what it was: error: "
    assert why("error: no table") == f"{end}no table"
    assert why("error: invalid choice: 'x'").startswith(
        f"{end}invalid choice: 'x'. First deploy the checkout"
    )
