"""TLS in the roles: warnings about the settings, and address and days left in the status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).parents[3] / "roles"
DEFINITION: dict[str, Any] = {
    "password": "set",
    "webhook_secret": True,
    "admin_token": True,
    "tls": True,
    "tls_domain": "alerts.example.com",
    "tls_files": [],
    "tls_has_ipv4": True,
    "server_port": 80,
}
WITHOUT_TLS: dict[str, Any] = {"tls": False, "tls_domain": "", "tls_has_ipv4": None}
OWN_FILES: dict[str, Any] = {"tls_files": ["config/tls/cert.pem", "config/tls/key.pem"]}
PORTS = "SERVER_PORT is not 80: TradingView sends alerts to the ports 80 and 443 only"
CHALLENGE = f"{PORTS}, and an ACME server asks port 80 before it issues a certificate"


def warnings(*, strict: bool, **definition: Any) -> list[str]:
    """Return a flow's warnings on a host."""
    loader = DataLoader()
    tasks = loader.load_from_file(str(ROLES / "project" / "tasks" / "settings.yml"), trusted_as_template=True)
    (found,) = (task["vars"] for task in tasks if "project_warnings" in task.get("vars", {}))
    variables = {
        **found,
        "project_strict": strict,
        "project_definition": {"definition": DEFINITION | definition},
    }
    return list(Templar(loader, variables).template(variables["project_warnings"]))


@pytest.mark.parametrize(
    ("strict", "definition", "expected"),
    [
        (True, {}, []),
        (True, OWN_FILES, []),
        (True, WITHOUT_TLS, ["no TLS_DOMAIN and no TLS_CERT_FILE: put a TLS proxy in front of this host"]),
        (False, WITHOUT_TLS | {"server_port": 8080}, []),
        (True, {"server_port": 8080}, [CHALLENGE]),
        (False, {"server_port": 8080}, [CHALLENGE]),
        (True, OWN_FILES | {"server_port": 8080}, [PORTS]),
        (False, OWN_FILES | {"server_port": 8080}, []),
        (
            False,
            {"tls_has_ipv4": False},
            ["TLS_DOMAIN=alerts.example.com has no IPv4 address: TradingView cannot reach it"],
        ),
        (True, {"tls_has_ipv4": None}, []),  # no name server answered
    ],
)
def test_warnings_about_tls(*, strict: bool, definition: dict[str, Any], expected: list[str]) -> None:
    assert warnings(strict=strict, **definition) == expected


def status(certificate: dict[str, Any], ports: dict[str, int]) -> tuple[str, list[str], list[str]]:
    """Return the base URL, the notes and the warnings of a stack."""
    loader = DataLoader()
    variables: dict[str, Any] = {
        **loader.load_from_file(str(ROLES / "status" / "vars" / "main.yml"), trusted_as_template=True),
        "compose_app": "app",
        "compose_edge": "edge",
        "status_address": "host",
        "status_stack": {
            "stack": {
                "containers": {"app": {}, "edge": {"ports": ports}}
                if "8080" in ports
                else {"app": {"ports": ports}},
                "health": {"certificate": certificate, "code": 200, "status": "healthy"},
            }
        },
    }
    names = ("status_base", "status_days_left", "status_certificate_wrong")
    base, notes, wrong = (Templar(loader, variables).template(variables[name]) for name in names)
    return base, notes, wrong


GOOD = {"status": "ok", "days_left": 61, "domain": "alerts.example.com"}
SENTENCE = "the certificate of alerts.example.com ends in 61 days"


@pytest.mark.parametrize(
    ("certificate", "ports", "expected"),
    [
        ({"status": "ok"}, {"8080": 80}, ("http://host", [], [])),
        ({"status": "ok"}, {"8080": 8081}, ("http://host:8081", [], [])),
        (GOOD, {"8080": 80, "8443": 443}, ("https://alerts.example.com", [SENTENCE], [])),
        (GOOD, {"8080": 80, "8443": 8443}, ("https://alerts.example.com:8443", [SENTENCE], [])),
        (
            {"status": "degraded", "reason": "near", "days_left": 3, "domain": ""},
            {"8080": 80, "8443": 443},
            ("https://host", ["the certificate ends in 3 days"], ["near"]),
        ),
        # A browser refuses the placeholder and an expired certificate.
        (
            {"status": "degraded", "reason": "none yet"},
            {"8080": 80, "8443": 443},
            ("http://host", [], ["none yet"]),
        ),
        (
            GOOD | {"status": "degraded", "reason": "ended", "days_left": -1},
            {"8080": 81, "8443": 443},
            ("http://host:81", [], ["ended"]),
        ),
        ({}, {"80": 80, "443": 443}, ("https://host", [], [])),  # a version without an edge
    ],
)
def test_what_status_shows_of_the_certificate(
    certificate: dict[str, Any], ports: dict[str, int], expected: tuple[str, list[str], list[str]]
) -> None:
    assert status(certificate, ports) == expected
