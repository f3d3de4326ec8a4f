"""The definition and the description of the app's second container during a successor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    from pathlib import Path

CONFIG: dict[str, Any] = {
    "name": "project",
    "services": {
        "app": {"image": "app:1", "container_name": "app", "depends_on": {"db": {}}, "labels": {"own": "x"}},
        "db": {"image": "db:1"},
    },
}
TEMPLATE: dict[str, Any] = {
    "Config": {
        "Hostname": "0123456789ab",
        "Image": "app:1",
        "StopTimeout": 30,
        "Labels": {
            "com.docker.compose.service": "app-next",
            "com.docker.compose.config-hash": "theirs",
            "com.docker.compose.project": "project",
            "com.docker.compose.depends_on": "db:service_started:false",
            "com.docker.compose.project.config_files": "-",
            "trading-signal-processor.run": "a" * 12,
            "own": "x",
        },
    },
    "HostConfig": {"Binds": ["/srv/config:/srv/config:rw"]},
    "NetworkSettings": {"Networks": {"project_default": {"Aliases": ["app.template", "app-next"]}}},
}


def test_the_sibling_is_the_service_under_another_name() -> None:
    successor = load("module_utils.successor")
    made = successor.sibling(CONFIG, "app", "app.template-1", "a" * 12)
    assert made["services"]["db"] == CONFIG["services"]["db"]
    assert made["services"]["app-next"] == {
        **CONFIG["services"]["app"],
        "container_name": "app.template-1",
        "labels": {"own": "x", "trading-signal-processor.run": "a" * 12},
    }
    assert "app" not in made["services"]
    assert CONFIG["services"]["app"]["labels"] == {"own": "x"}


def test_the_copy_is_the_services_own_container() -> None:
    """It keeps all that compose made of the definition, and no clean-up of a run removes it."""
    successor = load("module_utils.successor")
    made = successor.copy_of(TEMPLATE, "app", "app", "hash", ["/srv/a.yml", "/srv/b.yml"])
    assert made["Labels"] == {
        "com.docker.compose.service": "app",
        "com.docker.compose.config-hash": "hash",
        "com.docker.compose.project": "project",
        "com.docker.compose.depends_on": "db:service_started:false",
        "com.docker.compose.project.config_files": "/srv/a.yml,/srv/b.yml",
        "own": "x",
    }
    assert (made["HostConfig"], made["StopTimeout"], "Hostname" in made) == (
        TEMPLATE["HostConfig"],
        30,
        False,
    )
    assert made["NetworkingConfig"] == {"EndpointsConfig": {"project_default": {"Aliases": ["app", "app"]}}}


def docker(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a simulated docker first on PATH."""
    (folder / "docker").write_text(f"#!/bin/sh\ncd {folder}\n{script}\n", "utf-8")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_failure_quotes_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the client, which only repeats its arguments."""
    said = "Error response from daemon: no such network\\nError: failed to rename container named next"
    docker(tmp_path, f"printf '{said}\\n' >&2; exit 1", monkeypatch)
    successor = load("module_utils.successor")
    with pytest.raises(
        successor.Failure, match=r"^docker rename failed: Error response from daemon: no such network$"
    ):
        successor.run(["docker", "rename", "next", "app"])


@pytest.mark.parametrize(("refusals", "named"), [(0, True), (2, True), (5, False)])
def test_a_temporary_refusal_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, *, named: bool
) -> None:
    """A container that is just restarting cannot be changed; if that lasts, it is a failure."""
    script = 'echo "$@" >>asked; test $(wc -l <asked) -gt ' + str(refusals)
    docker(tmp_path, script, monkeypatch)
    successor = load("module_utils.successor")
    monkeypatch.setattr(successor, "PAUSE", 0.0)
    if named:
        successor.insist(["docker", "rename", "next", "app"])
    else:
        with pytest.raises(successor.Failure):
            successor.insist(["docker", "rename", "next", "app"])
    asked = (tmp_path / "asked").read_text("utf-8").splitlines()
    assert asked == ["rename next app"] * min(refusals + 1, 5)
