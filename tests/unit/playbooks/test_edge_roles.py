"""Flows during maintenance, and with an app, a checkout and a version of which only some have an edge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.unit.engine import World, public_port
from tests.unit.playbooks.modules import load

if TYPE_CHECKING:
    from collections.abc import Callable

ROLES = Path(__file__).parents[3] / "roles"
APP, EDGE = "trading-signal-processor", "trading-edge"


def asserted(role: str, file: str, variables: dict[str, Any]) -> tuple[bool, str]:
    """Return whether a file's first task lets the flow continue, and its message if not."""
    loader = DataLoader()
    task = loader.load_from_file(str(ROLES / role / "tasks" / f"{file}.yml"), trusted_as_template=True)[0]
    known: dict[str, Any] = {}
    for folder in ("defaults", "vars"):
        path = ROLES / role / folder / "main.yml"
        if path.exists():
            known |= loader.load_from_file(str(path), trusted_as_template=True)
    templar = Templar(loader, {**known, **variables})
    if "when" in task and not templar.evaluate_conditional(task["when"]):
        return True, ""
    parameters = task["ansible.builtin.assert"]
    return templar.evaluate_conditional(parameters["that"]), str(templar.template(parameters["fail_msg"]))


def agreement(ports: dict[str, int] | None, *, has_edge: bool) -> dict[str, Any]:
    """Return whether app (its ports; None: no app) and checkout agree about the edge, and the message."""
    containers = {} if ports is None else {APP: {"version": "a1b2c3d", "ports": ports}}
    return {
        "compose_app": APP,
        "compose_database": "postgres",
        "compose_services": {},
        "inventory_hostname": "prod",
        "project_dir": "/srv",
        "database_stack_before": {"containers": containers},
        "database_has_edge": has_edge,
    }


@pytest.mark.parametrize(
    ("ports", "has_edge", "agrees"),
    [
        ({"8008": 8008}, True, True),
        ({"80": 80, "8008": 8008}, False, True),
        ({"80": 80, "8008": 8008}, True, False),
        ({"8008": 8008}, False, False),
        (None, True, True),
        (None, False, True),
    ],
)
def test_a_database_is_not_replaced_where_app_and_checkout_do_not_agree_about_the_edge(
    ports: dict[str, int] | None, *, has_edge: bool, agrees: bool
) -> None:
    passes, message = asserted("database", "fits_app", agreement(ports, has_edge=has_edge))
    assert passes is agrees
    if not agrees:
        assert "Version a1b2c3d runs on prod" in message
        assert "python3 run.py --quick" in message


FILES = ["config/tls/cert.pem", "config/tls/key.pem"]


@pytest.mark.parametrize(
    ("has_edge", "tls", "files", "variables", "passes"),
    [
        (True, True, [], {}, True),
        (False, False, [], {}, True),
        (False, True, FILES, {}, True),
        (False, True, [], {}, False),
        (False, True, [], {"versions_without_tls": True}, True),
        (False, True, [], {"versions_without_tls": "true"}, True),  # as typed with -e
    ],
)
def test_a_rollback_keeps_tls(
    *, has_edge: bool, tls: bool, files: list[str], variables: dict[str, Any], passes: bool
) -> None:
    """An exit that is posted over https must not be refused afterwards."""
    definition = {"has_edge": has_edge, "tls": tls, "tls_files": files}
    found, message = asserted(
        "versions",
        "keeps_tls",
        {
            "inventory_hostname": "prod",
            "project_dir": "/srv",
            "versions_chosen": {"choice": {"version": "a1b2c3d"}},
            "versions_definition": definition,
            **variables,
        },
    )
    assert found is passes
    assert "TLS_CERT_FILE" in message
    assert "-e versions_without_tls=true" in message


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run the gate at the public port: the app is absent, and the edge answers 503."""
    world = World(tmp_path)
    monkeypatch.setattr("subprocess.run", world.run)
    monkeypatch.setattr(load("health_gate"), "ended_at", lambda *_: None)
    edge = {
        "Id": EDGE,
        "Image": "sha256:edge",
        "State": {"Status": "running", "Running": True, "Health": {"Status": "healthy"}},
        "HostConfig": {"PortBindings": {"8080/tcp": [{"HostPort": public_port()}]}},
        "Config": {"Labels": {}},
    }

    def ask(maintenance: str, *, is_edge: bool) -> dict[str, Any]:
        world.set({EDGE: edge}, traffic="app", maintenance=maintenance)
        params = {
            "url": f"http://127.0.0.1:{public_port()}/health",
            "version": "new",
            "container": EDGE,
            "since": 0.0,
            "seconds": 1,
            "consecutive": 1,
            "is_edge": is_edge,
            "impatient": False,
            "log_lines": 1,
        }
        return dict(load("health_gate").answer(params))

    return ask


def test_the_gate_passes_during_maintenance_where_clients_ask_and_nowhere_else(
    gate: Callable[..., dict[str, Any]],
) -> None:
    """Also where the flow itself has started an edge that finds maintenance in its volume."""
    assert gate("on", is_edge=True)["passed"]
    assert not gate("off", is_edge=True)["passed"]
    assert not gate("on", is_edge=False)["passed"]
