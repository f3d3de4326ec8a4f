"""The definition and the description of the app's second container during a swap."""

from __future__ import annotations

from typing import Any

from tests.unit.playbooks.modules import load

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
    swap = load("app_swap")
    made = swap.sibling(CONFIG, "app", "app.template-1", "a" * 12)
    assert made["services"]["db"] == CONFIG["services"]["db"]
    assert made["services"]["app-next"] == {
        **CONFIG["services"]["app"],
        "container_name": "app.template-1",
        "labels": {"own": "x", "trading-signal-processor.run": "a" * 12},
    }
    assert "app" not in made["services"]
    assert CONFIG["services"]["app"]["labels"] == {"own": "x"}


def test_the_copy_is_the_services_own_container() -> None:
    """It keeps all that compose made of the definition, and no clean-up of a run takes it for its own."""
    swap = load("app_swap")
    made = swap.copy_of(TEMPLATE, "app", "app", "hash", ["/srv/a.yml", "/srv/b.yml"])
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
