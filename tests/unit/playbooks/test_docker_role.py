"""How the role `docker` judges a machine's Docker: sufficient, or what is wrong and the command to type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).parents[3] / "roles" / "docker"
GOOD: dict[str, Any] = {
    "installed": True,
    "elsewhere": "",
    "client": "26.1.5",
    "engine": "26.1.5+dfsg1",
    "compose": "2.26.1",
    "error": "",
    "installed_engine": True,
    "root": True,
    "systemd": True,
    "os": "debian",
    "os_version": "12",
}


def value(name: str, *, install: bool = False, **docker: Any) -> Any:
    """Return a variable of the role for a machine."""
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(ROLE / "defaults" / "main.yml"), trusted_as_template=True),
        **loader.load_from_file(str(ROLE / "vars" / "main.yml"), trusted_as_template=True),
        "docker_found": {**GOOD, **docker},
        "docker_install": install,
        "plan_only": False,
        "inventory_hostname": "local",
    }
    return Templar(loader, variables).template(variables[name])


@pytest.mark.parametrize(
    "engine", ["25.0", "25.0.0", "26.1.5+dfsg1", "28.2.2", "100.0", "dev", "25.0.0-rc.1"]
)
def test_a_sufficient_daemon(engine: str) -> None:
    assert value("docker_obstacle", engine=engine) == ""
    assert value("docker_install_due", install=True, engine=engine) is False


@pytest.mark.parametrize("engine", ["20.10.24+dfsg1", "24.0.9", "1.13.1", "9.0"])
def test_the_daemon_that_runs_is_too_old_whatever_the_client_is(engine: str) -> None:
    said = value("docker_obstacle", engine=engine, client="26.1.5")
    assert engine in said
    assert "25.0 or newer" in said
    assert "--install-docker" in said
    assert value("docker_install_due", install=True, engine=engine) is True
    assert value("docker_install_due", engine=engine) is False


@pytest.mark.parametrize("compose", ["2.20.2", "2.3.3", "1.29.2", ""])
def test_compose_is_too_old_or_missing(compose: str) -> None:
    assert "2.20.3 or newer" in value("docker_obstacle", compose=compose)
    assert value("docker_install_due", install=True, compose=compose) is True


def test_a_newer_major_version_of_compose_is_sufficient() -> None:
    assert value("docker_obstacle", compose="5.0.1") == ""
    assert value("docker_obstacle", compose="2.100.0") == ""


@pytest.mark.parametrize(("systemd", "command"), [(True, "systemctl restart docker"), (False, "docker.pid")])
def test_the_restart_is_named_for_the_machine(command: str, *, systemd: bool) -> None:
    assert command in value("docker_restart_command", systemd=systemd)
