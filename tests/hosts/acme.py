"""The service `acme` as a process on loopback, and Debian's ACME server for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from tests.hosts.docker import call
from tests.hosts.edge import IMAGE
from tests.hosts.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hosts.edge import Edge

DOMAIN = "alerts.example.com"
START_SECONDS = 30.0  # generous: a machine that is busy


@dataclass(frozen=True)
class AcmeServer:
    """A running ACME server; `trusted` is the file with the certificate that it answers with."""

    url: str
    trusted: Path
    _management: str
    _names: str

    def root(self) -> str:
        """Return its issuing certificate, in PEM."""
        return requests.get(f"{self._management}/roots/0", verify=str(self.trusted), timeout=10).text

    def resolve(self, address: str) -> None:
        """Resolve every name to this address from now on."""
        requests.post(f"{self._names}/set-default-ipv4", json={"ip": address}, timeout=10).raise_for_status()

    def answers(self) -> bool:
        """Return whether it runs."""
        try:
            return requests.get(self.url, verify=str(self.trusted), timeout=10).ok and bool(self.root())
        except requests.ConnectionError:
            return False


@contextlib.contextmanager
def acme_server(
    programs: Path, folder: Path, edge: Edge, *, seconds: int = 7_776_000, port: int = 0
) -> Iterator[AcmeServer]:
    """Run a server that validates challenges at the edge; `seconds` is its certificates' lifetime."""
    folder.mkdir()
    port = port or free_port()
    management, names, tls, names_management = (free_port() for _ in range(4))
    certificate = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-out", str(folder / "cert.pem"), "-keyout", str(folder / "key.pem")]
    call(["openssl", "req", "-x509", *kind, *certificate, *files]).require()
    settings = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "cert.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": edge.port,
        "tlsPort": tls,
        "retryAfter": {"authz": 1, "order": 1},
        "certificateValidityPeriod": seconds,
    }
    (folder / "config.json").write_text(json.dumps({"pebble": settings}))
    environment = {"PATH": os.environ["PATH"], "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"}
    resolver = ["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]
    addresses = ["-dns01", f"127.0.0.1:{names}", "-management", f"127.0.0.1:{names_management}"]
    commands = [
        [str(programs / "pebble-challtestsrv"), *resolver, *addresses],
        [
            str(programs / "pebble"),
            "-config",
            str(folder / "config.json"),
            "-dnsserver",
            f"127.0.0.1:{names}",
        ],
    ]
    server = AcmeServer(
        f"https://localhost:{port}/dir",
        folder / "cert.pem",
        f"https://localhost:{management}",
        f"http://127.0.0.1:{names_management}",
    )
    with contextlib.ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((folder / "server.log").open("ab"))
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
        end = time.monotonic() + START_SECONDS
        while not server.answers():
            assert time.monotonic() < end, (folder / "server.log").read_text()
            time.sleep(0.05)
        yield server


@dataclass(frozen=True)
class Keeper:
    """The running service."""

    folder: Path

    def read_log(self) -> str:
        """Return its log."""
        return (self.folder / "acme.log").read_text()

    def report(self) -> dict[str, Any]:
        """Return its report on the certificate; empty before the first one."""
        try:
            return dict(json.loads((self.folder / "certificate.json").read_text()))
        except FileNotFoundError:
            return {}


@contextlib.contextmanager
def keeping(edge: Edge, folder: Path, server: AcmeServer | None = None, **variables: str) -> Iterator[Keeper]:
    """Run the service until the block ends: for certificates of `server`, or for the files in `variables`."""
    environment = {
        **edge.environment,
        "ACME_USER": "",
        "ACME_REPORT": str(folder / "certificate.json"),
        "ACME_ROUND_SECONDS": "1",
        "ACME_PAUSE_SECONDS": "1",
        "ACME_RETRY_SECONDS": "1",
        **variables,
    }
    if server:
        environment |= {"TLS_ACME_URL": server.url, "ACME_TRUSTED": str(server.trusted)}
    with (folder / "acme.log").open("ab") as log:
        process = subprocess.Popen(
            [str(IMAGE / "acme.sh"), "run"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield Keeper(folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
