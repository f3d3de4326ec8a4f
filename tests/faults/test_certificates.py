"""Automatic certificates on a host: obtained, renewed under load, kept over a rebuild; own files."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.hosts.checkout import PROJECT
from tests.hosts.load import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.hosts.load import Sent
    from tests.hosts.stack import Stack

DOMAIN = "alerts.example.com"
TICKERS = ("AAPL", "MSFT")
WITHIN_SECONDS = 120.0  # generous: a machine that is busy
RENEWED_SECONDS = 60.0  # a renewed file counts within a minute
SHOWN = f"openssl s_client -connect 127.0.0.1:443 -servername {DOMAIN} </dev/null 2>/dev/null | openssl x509"
PAGE = (
    "curl --silent --output /dev/null --write-out '%{redirect_url}' --header 'Accept: text/html'"
    f" http://{DOMAIN}/admin"
)


@dataclass(frozen=True)
class Acme:
    """An ACME server on the stack's host."""

    stack: Stack

    @property
    def url(self) -> str:
        """Return its directory URL, as a container reaches it."""
        return f"https://{self.stack.host.address}:14000/dir"

    def start(self) -> None:
        """Start it; all names resolve to the host itself."""
        self.stack.host.run(
            "(pebble-challtestsrv -defaultIPv6 '' -http01 '' -https01 '' -tlsalpn01 '' -doh ''"
            " -dns01 127.0.0.1:8053 -management 127.0.0.1:8055 >names.log 2>&1 &);"
            " (PEBBLE_VA_NOSLEEP=1 pebble -config config.json -dnsserver 127.0.0.1:8053 >server.log 2>&1 &);"
            " for try in $(seq 100); do"
            " curl --silent --fail --cacert cert.pem --output root.pem https://localhost:15000/roots/0"
            " && exit 0; sleep 0.2; done; cat server.log; exit 1",
            folder="/root/acme",
        ).require()


@pytest.fixture(scope="module")
def acme(stack: Stack, haproxy: Path) -> Iterator[Acme]:
    """Install its programs and its certificate, which the host trusts, and the domain's address."""
    host = stack.host
    for name in ("pebble", "pebble-challtestsrv"):
        host.write(f"/usr/local/bin/{name}", (haproxy / name).read_bytes(), mode=0o755)
    settings = {
        "listenAddress": "0.0.0.0:14000",
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": "cert.pem",
        "privateKey": "key.pem",
        "httpPort": 80,
        "tlsPort": 443,
        "retryAfter": {"authz": 1, "order": 1},
        "certificateValidityPeriod": 7_776_000,
    }
    host.write("/root/acme/config.json", json.dumps({"pebble": settings}))
    make_pair(stack, "/root/acme", "localhost", names=f"DNS:localhost,IP:{host.address}")
    host.run(
        f"echo 127.0.0.1 {DOMAIN} >>/etc/hosts; cat acme/cert.pem >>/etc/ssl/certs/ca-certificates.crt"
    ).require()
    stack.approve(*TICKERS)
    yield Acme(stack)
    stack.configure(TLS_DOMAIN="", TLS_EMAIL="", TLS_ACME_URL="", TLS_CERT_FILE="", TLS_KEY_FILE="")


def make_pair(stack: Stack, folder: str, name: str, *, names: str = f"DNS:{DOMAIN}") -> None:
    """Create a self-signed certificate, and its key, which only its owner can read: cert.pem and key.pem."""
    kind = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 50"
    files = f"-keyout {folder}/key.pem -out {folder}/cert.pem"
    subject = f"-subj /CN={name} -addext subjectAltName={names}"
    stack.host.run(f"mkdir -p {folder} && openssl req -x509 {kind} {subject} {files}").require()


def shown(stack: Stack, what: str) -> str:
    """Return a property of the certificate that DOMAIN's clients get: `-serial` or `-subject`."""
    return stack.host.run(f"{SHOWN} -noout {what}").stdout.strip()


def wait_until(condition: Callable[[], bool], seconds: float = WITHIN_SECONDS) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(1)


def is_trusted(stack: Stack) -> bool:
    """Return whether a client that trusts the ACME server accepts the certificate."""
    ask = f"curl --silent --fail --cacert /root/acme/root.pem https://{DOMAIN}/health"
    return stack.host.run(ask).code == 0


def under_load(stack: Stack, act: Callable[[], object]) -> Sent:
    """Send 50 posts a second over TLS, on new connections, during the block; return their results."""

    async def midway() -> None:
        await asyncio.to_thread(act)

    url = f"https://{stack.host.address}/webhook/in"
    return asyncio.run(
        stream(url, stack.secret, tickers=TICKERS, rate=50, seconds=20, midway=midway, keep_alive=False)
    )


def test_an_invalid_domain_is_refused_before_anything_is_stopped(stack: Stack, acme: Acme) -> None:
    before = stack.containers()
    acme.stack.configure(TLS_DOMAIN="https://alerts.example.com")
    refused = stack.run_py("--quick")
    assert (refused.code, "TLS_DOMAIN='https://alerts.example.com' is not valid" in refused.output) == (
        5,
        True,
    )
    assert stack.containers() == before


def test_an_automatic_certificate(stack: Stack, acme: Acme) -> None:
    """Everything works without the ACME server; then the certificate is obtained, renewed, and kept."""
    stack.configure(TLS_DOMAIN=DOMAIN, TLS_EMAIL="me@example.com", TLS_ACME_URL=acme.url)
    stack.run_py("--quick").require()
    assert "trading-acme" in stack.containers()
    assert "no certificate yet" in shown(stack, "-subject")
    assert stack.post(b'{"ticker": "AAPL", "action": "buy"}').status_code == 202

    def warned() -> bool:
        return "there is no certificate yet" in stack.run_py("--status-only").output

    wait_until(warned)
    acme.start()
    stack.host.run("docker restart trading-acme").require()
    wait_until(lambda: is_trusted(stack))
    assert stack.host.run(PAGE).stdout == f"https://{DOMAIN}/admin"

    def status() -> str:
        return stack.run_py("--status-only").output

    wait_until(lambda: f"the certificate of {DOMAIN} ends in 89 days" in status())
    assert f"https://{DOMAIN}/admin" in status()
    (document,) = json.loads(stack.run_py("--status-only", "--json").stdout)["hosts"].values()
    assert document["certificate_days_left"] == 89

    first = shown(stack, "-serial")
    sent = under_load(stack, lambda: renew(stack, acme, first))
    assert (sent.refused, sent.unanswered, len(sent.accepted)) == ({}, set(), 1000)
    assert sent.slowest_seconds < 3
    renewed = shown(stack, "-serial")
    stack.run_py("--rebuild", "--yes", "--no-dump", timeout=1200).require()
    assert (shown(stack, "-serial"), is_trusted(stack)) == (renewed, True)


def renew(stack: Stack, acme: Acme, serial: str) -> None:
    """Renew a certificate that is not due; the service activates it."""
    client = (
        "export UACME_CAINFO=/etc/ssl/host/ca-certificates.crt;"
        " cd $(ls -td /var/lib/edge/acme/*/ | head -n 1) &&"
        f" uacme --confdir $PWD --acme-url {acme.url} --type EC --hook /usr/local/bin/acme --force"
        f" issue {DOMAIN}"
    )
    as_edge = "setpriv --reuid=10002 --regid=10002 --clear-groups"
    stack.host.run(f"docker exec trading-acme {as_edge} bash -c {shlex.quote(client)}").require()
    wait_until(lambda: shown(stack, "-serial") != serial)


def test_certificate_files_of_the_operator(stack: Stack, acme: Acme) -> None:
    """Renewed as by the hook of another client: by root, readable by root only."""
    make_pair(stack, f"{PROJECT}/config/tls", "one")
    stack.configure(TLS_DOMAIN=DOMAIN, TLS_CERT_FILE="config/tls/cert.pem", TLS_KEY_FILE="config/tls/key.pem")
    stack.run_py("--quick").require()
    wait_until(lambda: "one" in shown(stack, "-subject"))

    def renewed() -> None:
        make_pair(stack, f"{PROJECT}/config/tls", "two")
        wait_until(lambda: "two" in shown(stack, "-subject"), RENEWED_SECONDS)

    sent = under_load(stack, renewed)
    assert (sent.refused, sent.unanswered, len(sent.accepted)) == ({}, set(), 1000)
    acme.stack.configure(TLS_DOMAIN="", TLS_CERT_FILE="", TLS_KEY_FILE="")
    stack.run_py("--quick").require()
    assert "trading-acme" not in stack.containers()
    assert stack.host.run("curl --silent --insecure https://127.0.0.1/health").code != 0
    assert stack.host.run(PAGE).stdout in {"", f"http://{DOMAIN}/admin/sign-in?next=%2Fadmin"}
