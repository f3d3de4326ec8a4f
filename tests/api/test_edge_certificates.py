"""The edge's certificate: obtained and renewed by itself, or the operator's own. It never fails a request."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.api.backend import Backend, started
from tests.api.edge.load import assert_all_accepted, both_kinds
from tests.hosts import acme
from tests.hosts import edge as edges
from tests.hosts.acme import DOMAIN, acme_server, keeping
from tests.hosts.docker import call
from tests.hosts.ports import free_port
from tests.hosts.timed import timed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.hosts.docker import Result
    from tests.hosts.edge import Edge

PAGE = {"Host": DOMAIN, "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PATIENCE = 40.0  # generous: a machine that is busy


@pytest.fixture
def app() -> Backend:
    """Return a backend in the application's place."""
    return Backend("app")


@pytest.fixture
def edge(haproxy: Path, tmp_path: Path, app: Backend) -> Iterator[Edge]:
    """Start an edge for TLS_DOMAIN, with a placeholder certificate."""
    made = edges.make_edge(
        haproxy, tmp_path, app=app.address, standin="127.0.0.1:1", TLS_DOMAIN=DOMAIN.upper(), TLS_PORT="8443"
    )
    with edges.running(made):
        yield made


@pytest.fixture
async def certified(edge: Edge, app: Backend, tmp_path: Path) -> AsyncIterator[Edge]:
    """Start the edge with a certificate for TLS_DOMAIN, and the application."""
    edge.run("certificate", stdin=pem_of(make_pair(tmp_path, "mine"))).require()
    async with started(app):
        yield edge


async def until(condition: Callable[[], Awaitable[bool]], log: Callable[[], str]) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < end, log()
        await asyncio.sleep(0.1)


async def serial_of(edge: Edge, root: str) -> int | None:
    """Return the serial number of DOMAIN's certificate; None where a client would refuse it."""
    context = ssl.create_default_context(cadata=root)
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", int(edge.tls_url.rpartition(":")[2]), ssl=context, server_hostname=DOMAIN
        )
    except ssl.SSLCertVerificationError:
        return None
    found = writer.get_extra_info("peercert")
    writer.close()
    return int(found["serialNumber"], 16)


def make_pair(folder: Path, name: str, *options: str, host: str = DOMAIN) -> tuple[Path, Path]:
    """Create a self-signed certificate for `host`, and its key: two files in `folder`."""
    folder.mkdir(exist_ok=True)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{host}"]
    kind = options or ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "20")
    argv = ["openssl", "req", "-x509", "-nodes", *kind, *names, "-out", str(certificate), "-keyout", str(key)]
    call(argv).require()
    return certificate, key


def make_ended(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a pair for DOMAIN that expired yesterday, which `openssl req` cannot make."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=91))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(DOMAIN)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate = folder / f"{name}.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, folder / f"{name}.key"


def pem_of(pair: tuple[Path, Path]) -> bytes:
    """Return both files as one text."""
    return b"\n".join(path.read_bytes() for path in pair)


async def redirect_of(edge: Edge, method: str = "GET", path: str = "/admin", **headers: str) -> str | None:
    """Return the redirect of a request for a page; None where the application answers it."""
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{edge.url}{path}", headers=PAGE | headers, allow_redirects=False) as answer,
    ):
        assert answer.status in {202, 302}
        return answer.headers.get("Location")


@timed
async def test_a_certificate_is_obtained_and_renewed_while_alerts_come_in(
    haproxy: Path, edge: Edge, app: Backend, tmp_path: Path
) -> None:
    """Its renewal is always due, so several renewals happen while alerts come in."""
    serials = []
    with acme_server(haproxy, tmp_path / "server", edge, seconds=3600) as server:
        root = server.root()
        async with started(app):
            assert await serial_of(edge, root) is None
            assert await redirect_of(edge) is None
            (await asyncio.to_thread(edge.run, "maintenance", "on")).require()
            with keeping(edge, tmp_path, server, TLS_EMAIL="me@example.com") as keeper:

                async def has_certificate() -> bool:
                    return await serial_of(edge, root) is not None

                async def renewals() -> None:
                    serials.append(await serial_of(edge, root))

                    async def is_renewed() -> bool:
                        serial = await serial_of(edge, root)
                        if serial not in serials:
                            serials.append(serial)
                        return len(serials) == 2

                    await until(is_renewed, keeper.read_log)

                await until(has_certificate, keeper.read_log)
                (await asyncio.to_thread(edge.run, "maintenance", "off")).require()
                sent = await both_kinds(edge.tls_url, 6, renewals)
                report = keeper.report()
            assert_all_accepted(sent, 6)
            assert await redirect_of(edge, path="/admin?a=b") == f"https://{DOMAIN}:8443/admin?a=b"
    assert None not in serials
    assert (report["domain"], report["problem"], report["failing_since"]) == (DOMAIN, "", None)
    assert time.time() < report["not_after"] <= time.time() + 3600
    assert "PRIVATE" not in keeper.read_log() + edge.log


@timed
async def test_an_acme_server_that_refuses_stops_nothing(
    haproxy: Path, edge: Edge, app: Backend, tmp_path: Path
) -> None:
    """The reason is reported, and the next attempt succeeds once the cause is gone."""
    with acme_server(haproxy, tmp_path / "server", edge) as server:
        server.resolve("127.0.0.66")  # where nothing listens
        async with started(app):
            with keeping(edge, tmp_path, server) as keeper:

                async def is_refused() -> bool:
                    return bool(keeper.report().get("problem"))

                async def nothing() -> None:
                    return

                async def is_obtained() -> bool:
                    return keeper.report().get("not_after") is not None

                await until(is_refused, keeper.read_log)
                refused = keeper.report()
                sent = await both_kinds(edge.tls_url, 2, nothing)
                assert_all_accepted(sent, 2)
                server.resolve("127.0.0.1")
                await until(is_obtained, keeper.read_log)
                assert await serial_of(edge, server.root())
                assert keeper.report()["problem"] == ""
    assert refused["not_after"] is None
    assert f"http://{DOMAIN}" in refused["problem"]
    assert "connection refused" in refused["problem"]
    assert refused["failing_since"] <= refused["checked_at"]


async def test_an_account_that_the_server_does_not_know_is_registered_again(
    haproxy: Path, edge: Edge, tmp_path: Path
) -> None:
    port = free_port()
    for name in ("first", "second"):  # the second one has the first one's address, and no accounts
        with acme_server(haproxy, tmp_path / name, edge, seconds=3600, port=port) as server:
            root = server.root()
            with keeping(edge, tmp_path, server) as keeper:

                async def is_obtained(root: str = root) -> bool:
                    return await serial_of(edge, root) is not None

                await until(is_obtained, keeper.read_log)


@timed
async def test_the_operators_own_files_are_followed(edge: Edge, app: Backend, tmp_path: Path) -> None:
    """A renewed pair is used at once, without a lost connection; an incomplete one changes nothing."""
    certificate, key = make_pair(tmp_path / "config", "first")
    renewed = make_pair(tmp_path / "renewed", "renewed")

    def is_live(pair: tuple[Path, Path]) -> Callable[[], Awaitable[bool]]:
        async def look() -> bool:
            return await serial_of(edge, pair[0].read_text()) is not None

        return look

    async with started(app):
        with keeping(edge, tmp_path, TLS_CERT_FILE=str(certificate), TLS_KEY_FILE=str(key)) as keeper:
            await until(is_live((certificate, key)), keeper.read_log)

            async def renew() -> None:
                """Copy a pair as a person does: one file after the other."""
                certificate.write_bytes(renewed[0].read_bytes())

                async def is_odd() -> bool:
                    return "another certificate's" in str(keeper.report().get("problem"))

                await until(is_odd, keeper.read_log)
                key.write_bytes(renewed[1].read_bytes())
                await until(is_live(renewed), keeper.read_log)

            sent = await both_kinds(edge.tls_url, 6, renew)
            assert_all_accepted(sent, 6)

            async def is_well() -> bool:
                return keeper.report().get("problem") == ""

            async def is_missed() -> bool:
                return str(keeper.report().get("problem")) == f"{key} cannot be read"

            await until(is_well, keeper.read_log)
            key.unlink()
            await until(is_missed, keeper.read_log)
            assert keeper.report()["not_after"] > time.time() + 19 * 86400
            assert await serial_of(edge, renewed[0].read_text())


async def test_an_edge_that_starts_has_the_operators_own_certificate(
    haproxy: Path, tmp_path: Path, app: Backend
) -> None:
    """No client of a version that served TLS itself gets a placeholder when the port moves to the edge."""
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin="127.0.0.1:1")
    certificate, key = make_pair(tmp_path, "mine")
    certificate.write_bytes(certificate.read_bytes().rstrip())  # an editor may leave out the last line's end

    def follow() -> Result:
        files = {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key), "ACME_USER": ""}
        return call([str(edges.IMAGE / "acme.sh"), "follow"], environment=made.environment | files)

    content = key.read_bytes()
    key.unlink()
    assert (missed := follow()).code == 2
    assert missed.stderr == f"acme: {key} cannot be read\n"
    key.write_bytes(content)
    follow().require()
    async with started(app):
        with edges.running(made):
            assert await serial_of(made, certificate.read_text()) is not None


def test_which_certificates_cause_redirects(edge: Edge, tmp_path: Path) -> None:
    """Not the placeholder, not one for another name; pages are redirected while it has not ended."""
    shown = [edge.run("expiry").require().stdout]
    for pair in (
        make_pair(tmp_path, "mine"),
        make_pair(tmp_path, "others", host="other.example.com"),
        make_pair(tmp_path, "wildcard", host="*.example.com"),
        make_ended(tmp_path, "ended"),
    ):
        edge.run("certificate", stdin=pem_of(pair)).require()
        shown.append(edge.run("expiry").require().stdout)
    assert [bool(text) for text in shown] == [False, True, False, True, True]
    assert time.time() + 19 * 86400 < int(shown[1]) < time.time() + 21 * 86400


PAGES = [
    ("GET", "/admin", {}),
    ("GET", "/", {}),
    ("HEAD", "/admin/", {}),
    ("GET", "/docs", {}),
    ("GET", "/admin", {"Host": f"{DOMAIN.upper()}:80"}),
]
OTHERS = [
    ("POST", "/admin", {}),
    ("PUT", "/admin/x", {}),
    ("GET", "/health", {}),
    ("GET", "/health/detailed", {}),
    ("GET", "/webhook/in", {}),
    ("POST", "/webhook/in", {}),
    ("GET", "/openapi.json", {}),
    ("GET", "/admin/status", {"Accept": "application/json"}),
    ("GET", "/admin/status", {"Accept": "*/*"}),
    ("GET", "/administrator", {}),
    ("GET", "/.well-known/acme-challenge/unknown", {}),
    ("GET", "/admin", {"Host": "localhost"}),
    ("GET", "/admin", {"Host": "127.0.0.1"}),
    ("GET", "/admin", {"Host": f"{DOMAIN}.evil.example"}),
    # A proxy that speaks TLS to clients and HTTP to this one: a redirect would repeat without end.
    ("GET", "/admin", {"X-Forwarded-Proto": "https"}),
]


async def test_pages_go_to_https_and_nothing_else(certified: Edge) -> None:
    for method, path, headers in PAGES:
        assert await redirect_of(certified, method, path, **headers) == f"https://{DOMAIN}:8443{path}"
    for method, path, headers in OTHERS:
        assert await redirect_of(certified, method, path, **headers) is None, (method, path, headers)
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{certified.tls_url}/admin", headers=PAGE, ssl=False, allow_redirects=False) as answer,
    ):
        assert answer.status == 202


async def test_pages_are_no_longer_redirected_when_the_certificate_has_ended(
    certified: Edge, tmp_path: Path
) -> None:
    assert await redirect_of(certified)
    (certified.state / "live.pem").write_bytes(pem_of(make_ended(tmp_path, "ended")))
    certified.run("redirect").require()
    assert await redirect_of(certified) is None


async def test_a_restart_and_a_reload_redirect_as_before(haproxy: Path, tmp_path: Path, app: Backend) -> None:
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin="127.0.0.1:1", TLS_DOMAIN=DOMAIN)
    async with started(app):
        with edges.running(made):
            assert await redirect_of(made) is None
            made.run("certificate", stdin=pem_of(make_pair(tmp_path, "mine"))).require()
            for words in (("reload",), ("traffic", "app"), ("maintenance", "off")):
                (await asyncio.to_thread(made.run, *words)).require()
                assert await redirect_of(made) == f"https://{DOMAIN}/admin", words
        with edges.running(made):
            assert await redirect_of(made) == f"https://{DOMAIN}/admin"


async def test_a_certificate_that_haproxy_refuses_closes_neither_port(
    haproxy: Path, tmp_path: Path, app: Backend
) -> None:
    """Its key is too weak: openssl reads it, HAProxy does not use it."""
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin="127.0.0.1:1", TLS_DOMAIN=DOMAIN)
    weak = pem_of(make_pair(tmp_path, "weak", "-newkey", "rsa:1024"))
    good = make_pair(tmp_path, "good")
    async with started(app):
        with edges.running(made):
            made.run("certificate", stdin=pem_of(good)).require()
            refused = await asyncio.to_thread(lambda: made.run("certificate", stdin=weak))
            assert (refused.code, "HAProxy refused the certificate" in refused.stderr) == (1, True)
            assert (made.state / "live.pem").read_bytes().startswith(good[0].read_bytes()[:100])
            made.run("certificate", stdin=pem_of(good)).require()
        (made.state / "live.pem").write_bytes(weak)
        with edges.running(made):
            async with aiohttp.ClientSession() as http:
                for url in (made.url, made.tls_url):
                    async with http.post(f"{url}/webhook/in", data=b"{}", ssl=False) as answer:
                        assert answer.status == 202
            assert "HAProxy refused the certificate" in made.log


async def test_an_invalid_setting_does_not_remove_the_certificate(haproxy: Path, tmp_path: Path) -> None:
    made = edges.make_edge(
        haproxy, tmp_path, app="127.0.0.1:1", standin="127.0.0.1:1", EDGE_RESOLVER="nobody!"
    )
    made.run("certificate", stdin=pem_of(make_pair(tmp_path, "good"))).require()
    before = (made.state / "live.pem").read_bytes()
    with pytest.raises(AssertionError), edges.running(made):
        pass
    assert (made.state / "live.pem").read_bytes() == before


async def test_a_challenge_is_a_token_and_its_answer(edge: Edge) -> None:
    """Both come from another server, so HAProxy must get no other words."""
    address = f"{edge.url}/.well-known/acme-challenge/a_-Z9"
    edge.run("challenge", "a_-Z9", "a_-Z9.print").require()
    async with aiohttp.ClientSession() as http:
        async with http.get(address) as answer:
            assert (answer.status, await answer.text()) == (200, "a_-Z9.print")
        edge.run("challenge", "a_-Z9").require()
        async with http.get(address) as answer:
            assert answer.status == 503  # the application's, which is stopped
    command = "set server app/app state maint"
    for words, code in (
        (("a b", "c"), 1),
        ((f"a\n{command}", "c"), 1),
        (("a", f"c; {command}"), 1),
        (("",), 2),
        ((), 2),
    ):
        assert edge.run("challenge", *words).code == code


async def test_a_report_is_json_whatever_the_settings_are(edge: Edge, tmp_path: Path) -> None:
    """Settings made by hand reach the service unchecked; the report must still be readable."""
    odd = [{"TLS_DOMAIN": 'a" b\\\n'}, {"TLS_CERT_FILE": '/nowhere/"é\n\t\\'}]
    for number, variables in enumerate(odd):
        folder = tmp_path / str(number)
        folder.mkdir()
        with keeping(edge, folder, None, **variables) as keeper:

            async def is_there(keeper: acme.Keeper = keeper) -> bool:
                return bool(keeper.report().get("problem"))

            await until(is_there, keeper.read_log)


def test_an_unknown_command_of_the_service_is_explained(edge: Edge) -> None:
    for words in ((), ("renew", "now"), ("follow", "it"), ("begin", "http-01"), ("stop",)):
        refused = call([str(edges.IMAGE / "acme.sh"), *words], environment=edge.environment)
        assert (refused.code, "acme run" in refused.stderr) == (2, True)
