"""Values of .env with which a start would fail, found before anything is stopped."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.playbooks.modules import load

URL = "postgresql+asyncpg://postgres:hunter2@postgres:5432/trading_signals"


def problems(
    server: str = "80",
    metrics: str = "8008",
    *,
    address: str = "",
    name: str = "stack",
    proxies: str = "",
    **environment: str,
) -> list[str]:
    """Return the problems of a definition as compose resolves it."""
    ports: list[dict[str, Any]] = [
        {"target": 8080, "published": server},
    ]
    if address:
        ports[0]["host_ip"] = address
    config = {
        "name": name,
        "services": {
            "app": {
                "environment": {"DATABASE_URL": URL, **environment},
                "ports": [{"target": 8008, "published": metrics, "host_ip": "127.0.0.1"}],
            },
            "edge": {"ports": ports, "environment": {"TRUSTED_PROXIES": proxies}},
            "db": {
                "environment": {"POSTGRES_PASSWORD": "hunter2"},
                "ports": [{"target": 5432, "published": "5432", "host_ip": "127.0.0.1"}],
            },
        },
    }
    found = load("definition_facts").settings_of(config, "app", "db", "edge", "stack")
    assert "hunter2" not in json.dumps(found)
    assert all(1 <= port["port"] <= 65535 for port in found["ports"])
    return list(found["problems"])


def test_the_values_of_env_example_are_valid() -> None:
    assert problems(TLS_PORT="443") == []
    assert problems(TLS_PORT="443", TLS_CERT_FILE="config/tls/cert.pem") == []
    assert problems(TLS_CERT_FILE="config/tls/cert.pem") == []
    assert problems(TLS_DOMAIN="alerts.example.com") == []
    assert problems("8080", address="127.0.0.1") == []
    for proxies in ("*", "10.0.0.5 192.168.7.0/24", "127.0.0.1,172.18.0.1", "10.0.0.5/8, ::1 2001:db8::/32"):
        assert problems(proxies=proxies) == []


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"server": "8008"}, ["SERVER_PORT", "PROMETHEUS_PORT", "8008"]),
        ({"metrics": "80"}, ["SERVER_PORT", "PROMETHEUS_PORT", "80"]),
        ({"server": "5432"}, ["SERVER_PORT", "the port 5432 of db"]),
        ({"server": "443", "TLS_DOMAIN": "alerts.example.com"}, ["SERVER_PORT", "TLS_PORT", "443"]),
        ({"server": "443", "TLS_CERT_FILE": "c"}, ["SERVER_PORT", "TLS_PORT", "443"]),
        ({"TLS_PORT": "8008", "TLS_CERT_FILE": "c"}, ["TLS_PORT", "PROMETHEUS_PORT"]),
        ({"server": "8080-8081"}, ["SERVER_PORT", "8080-8081", "1 to 65535"]),
        ({"server": "0"}, ["SERVER_PORT", "1 to 65535"]),
        ({"TLS_PORT": "abc"}, ["TLS_PORT", "abc"]),
        ({"TLS_PORT": "abc", "TLS_CERT_FILE": "c"}, ["TLS_PORT", "abc"]),
        ({"server": "80", "address": "10.0.0.9"}, ["SERVER_PORT", "10.0.0.9"]),
        ({"DATABASE_URL": "postgresql://postgres:hun[ter2@postgres/x"}, ["DATABASE_URL"]),
        ({"DATABASE_URL": "postgresql://postgres:hunter2@postgres:54x/x"}, ["DATABASE_URL"]),
        ({"APP_VERSION": "7"}, ["APP_VERSION"]),
        ({"proxies": "10.0.0.5 proxy.example.com"}, ["TRUSTED_PROXIES", "proxy.example.com"]),
        ({"proxies": "127.0.0.1,10.0.0.0/33"}, ["TRUSTED_PROXIES", "10.0.0.0/33"]),
        ({"proxies": "fe80::1%eth0"}, ["TRUSTED_PROXIES", "eth0"]),
        ({"name": "other"}, ["COMPOSE_PROJECT_NAME", "stack"]),
    ],
)
def test_a_value_that_cannot_work_is_named(values: dict[str, str], named: list[str]) -> None:
    found = problems(**values)
    assert len(found) == 1
    assert all(word in found[0] for word in named)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("localhost", True), ("name.invalid", False), ("", None), ("a b", None), ("-s", None), ("--help", None)],
)
def test_whether_a_name_has_an_ipv4_address(name: str, *, expected: bool | None) -> None:
    """`invalid` is a domain that never exists; without any name server that is not known."""
    found = load("definition_facts").has_ipv4(name)
    assert found is expected or (name == "name.invalid" and found is None)


def test_a_name_server_that_does_not_answer_delays_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    definition_facts = load("definition_facts")

    def hang(argv: list[str], *, timeout: float, **_: object) -> None:
        assert timeout == 3
        raise subprocess.TimeoutExpired(argv, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert definition_facts.has_ipv4("alerts.example.com") is None


def test_an_unused_tls_port_may_belong_to_another_program() -> None:
    assert problems("443", TLS_PORT="443") == []


@given(st.integers(1, 65535))
def test_every_port_number_is_a_port(number: int) -> None:
    assert load("definition_facts").port_problem("SERVER_PORT", str(number)) == ""


@given(st.text().filter(lambda text: not (text.isascii() and text.isdigit())) | st.integers().map(str))
def test_no_other_text_is_a_port(text: str) -> None:
    in_range = text.lstrip("-").isdigit() and text.isascii() and 1 <= int(text) <= 65535
    assert (load("definition_facts").port_problem("SERVER_PORT", text) == "") is in_range


def test_ports_are_found_in_a_file_that_compose_cannot_resolve() -> None:
    text = (
        "SERVER_PORT=1\r\nexport SERVER_PORT = 'abc'  # the page\nTLS_PORT=\nPROMETHEUS_PORT=${OTHER}\n"
        "# TLS_PORT=7\nNOT_SERVER_PORT=9\n"
    )
    assert load("definition_facts").written_ports(text) == {"SERVER_PORT": "abc"}
    assert load("definition_facts").written_ports("SERVER_PORT=127.0.0.1:8080\n") == {"SERVER_PORT": "8080"}


def test_a_listener_on_ipv6_alone_holds_the_port() -> None:
    """The engine publishes a port that names no address over both."""
    if not socket.has_dualstack_ipv6():
        return
    with socket.create_server(("::", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        assert load("port_holders").is_taken("0.0.0.0", port)
        assert not load("port_holders").is_taken("127.0.0.1", port)
