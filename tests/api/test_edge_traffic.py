"""The edge sends requests to the chosen server, and holds them while none serves: no alert is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import time
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest
import yaml  # type: ignore[import-untyped]

from tests.api.backend import Backend, accept, hang_up, started
from tests.hosts import edge as edges
from tests.hosts.docker import call
from tests.hosts.load import Sent, stream
from tests.hosts.ports import free_port
from tests.hosts.timed import timed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from aiohttp import web

    from tests.hosts.edge import Edge

TICKERS = ("AAPL", "MSFT")
RATE = 25  # posts a second on new connections, and as many on kept ones


@pytest.fixture
def app() -> Backend:
    """Return the backend in the app container's place."""
    return Backend("app")


@pytest.fixture
def standin() -> Backend:
    """Return the backend that serves while the app is replaced."""
    return Backend("standin")


@pytest.fixture
def edge(haproxy: Path, tmp_path: Path, app: Backend, standin: Backend) -> Iterator[Edge]:
    """Start an edge for these two, neither of which runs."""
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin=standin.address)
    with edges.running(made):
        yield made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Create a client whose time limit is longer than the edge's."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def both_kinds(url: str, seconds: float, midway: Callable[[], Awaitable[None]]) -> tuple[Sent, Sent]:
    """Send posts at RATE on new connections and on kept ones."""

    async def nothing() -> None:
        return

    def load(first: int, *, keep_alive: bool, act: Callable[[], Awaitable[None]]) -> Awaitable[Sent]:
        address = f"{url}/webhook/in"
        return stream(
            address,
            "",
            tickers=TICKERS,
            rate=RATE,
            seconds=seconds,
            midway=act,
            first=first,
            keep_alive=keep_alive,
        )

    return await asyncio.gather(
        load(0, keep_alive=False, act=midway), load(100_000, keep_alive=True, act=nothing)
    )


def assert_all_accepted(sent: tuple[Sent, Sent], seconds: int) -> None:
    """Assert that every post of these seconds got its 202 within TradingView's time limit."""
    for each in sent:
        assert (each.refused, each.unanswered, len(each.accepted)) == ({}, set(), RATE * seconds)
        assert each.slowest_seconds < 3


@timed
async def test_an_app_that_is_absent_for_a_second_loses_no_alert(edge: Edge, app: Backend) -> None:
    async def killed() -> None:
        await app.stop()
        await asyncio.sleep(1)
        await app.start()

    async with started(app):
        sent = await both_kinds(edge.url, 6, killed)
    assert_all_accepted(sent, 6)
    assert len(set(app.numbers)) == 2 * RATE * 6


@timed
async def test_an_alert_that_the_app_has_when_it_ends_is_sent_again(edge: Edge, app: Backend) -> None:
    """On a reused connection, and with no server for a second."""

    async def end(request: web.Request, number: int) -> web.StreamResponse:
        app.answer = accept
        ended.append(asyncio.create_task(come_back()))
        return await hang_up(request, number)

    async def come_back() -> None:
        await app.stop()
        await asyncio.sleep(1)
        await app.start()

    ended: list[asyncio.Task[None]] = []
    async with started(app), aiohttp.ClientSession() as http:
        for number in range(6):
            if number == 3:
                app.answer = end
            async with http.post(f"{edge.url}/webhook/in", json={"n": number}) as answer:
                assert answer.status == 202
        await asyncio.gather(*ended)
    assert app.numbers == [0, 1, 2, 3, 3, 4, 5]
    ids = [each.headers["x-edge-request-id"] for each in app.passed]
    assert (ids[3], len(set(ids))) == (ids[4], 6)


async def test_a_client_does_not_choose_the_id_of_its_request(
    edge: Edge, app: Backend, http: aiohttp.ClientSession
) -> None:
    """Otherwise an alert could count as the repetition of another one."""
    async with started(app):
        for _ in range(2):
            headers = {"X-Edge-Request-Id": "forged"}
            async with http.post(f"{edge.url}/webhook/in", json={"n": 1}, headers=headers) as answer:
                assert answer.status == 202
    ids = {each.headers["x-edge-request-id"] for each in app.passed}
    assert (len(ids), any("forged" in each for each in ids)) == (2, False)


@timed
async def test_a_swap_loses_no_alert(edge: Edge, app: Backend, standin: Backend) -> None:
    """Switch to the stand-in, replace the app, and switch back, as a flow does."""

    async def swap() -> None:
        await standin.start()
        (await asyncio.to_thread(edge.run, "traffic", "standin")).require()
        (await asyncio.to_thread(edge.run, "drain", "app")).require()
        before = len(app.passed)
        await asyncio.sleep(0.5)
        assert len(app.passed) == before
        await app.stop()
        await asyncio.sleep(1)
        await app.start()
        (await asyncio.to_thread(edge.run, "traffic", "app")).require()
        (await asyncio.to_thread(edge.run, "drain", "standin")).require()
        await standin.stop()

    async with started(app):
        sent = await both_kinds(edge.url, 9, swap)
    assert_all_accepted(sent, 9)
    assert sorted(app.numbers + standin.numbers) == sorted(
        [*range(9 * RATE), *range(100_000, 100_000 + 9 * RATE)]
    )
    assert len(standin.numbers) > RATE


@timed
async def test_posts_that_wait_for_a_dead_app_go_to_the_stand_in_at_once(
    edge: Edge, standin: Backend, http: aiohttp.ClientSession
) -> None:
    """The app ends before the switch to the stand-in: waiting requests are served too."""
    async with started(standin):
        waiting = [asyncio.create_task(http.post(f"{edge.url}/webhook/in", data=b"{}")) for _ in range(20)]
        await asyncio.sleep(0.5)
        begun = time.monotonic()
        (await asyncio.to_thread(edge.run, "traffic", "standin")).require()
        answers = await asyncio.gather(*waiting)
        assert [answer.status for answer in answers] == [202] * 20
        assert time.monotonic() - begun < 1.5


@timed
async def test_without_an_app_the_answer_is_503_within_3_s_and_traffic_flows_at_once_when_it_is_back(
    edge: Edge, app: Backend, http: aiohttp.ClientSession
) -> None:
    for path in ("/webhook/in", "/health"):
        begun = time.monotonic()
        async with http.post(f"{edge.url}{path}", data=b"{}") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert "try again" in (await answer.json())["detail"]
        assert 2 < time.monotonic() - begun < 3
    async with started(app):
        begun = time.monotonic()
        async with http.post(f"{edge.url}/webhook/in", data=b"{}") as answer:
            assert answer.status == 202
        assert time.monotonic() - begun < 0.5


@timed
async def test_the_edge_waits_for_an_app_that_hangs_no_longer_than_tradingview(
    edge: Edge, app: Backend, http: aiohttp.ClientSession
) -> None:
    """503, after which TradingView sends an alert again; after a 504 it does not."""

    async def hang(_request: web.Request, _number: int) -> web.StreamResponse:
        await asyncio.sleep(10)
        raise AssertionError

    app.answer = hang
    async with started(app):
        begun = time.monotonic()
        async with http.post(f"{edge.url}/webhook/in", data=b"{}") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert time.monotonic() - begun < 3


async def test_only_what_may_be_repeated_reaches_the_app_twice(
    edge: Edge, app: Backend, http: aiohttp.ClientSession
) -> None:
    """The app ends while it has the request. An order that a person places must not be placed twice."""
    app.answer = hang_up
    async with started(app):
        for method, path in (("POST", "/admin/order/sell-all"), ("DELETE", "/admin/x")):
            async with http.request(method, f"{edge.url}{path}", data=b"{}") as answer:
                assert answer.status == 503
        assert [each.path for each in app.passed] == ["/admin/order/sell-all", "/admin/x"]
        for method, path in (("POST", "/webhook/in"), ("GET", "/admin")):
            app.passed.clear()
            async with http.request(method, f"{edge.url}{path}") as answer:
                assert answer.status == 503
            assert len(app.passed) > 3


def test_a_restarted_edge_keeps_its_choice(
    haproxy: Path, tmp_path: Path, app: Backend, standin: Backend
) -> None:
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin=standin.address)
    found = []
    for words in (("traffic", "standin"), ("maintenance", "on"), ("traffic", "app"), ("maintenance", "off")):
        with edges.running(made) as process:
            found.append({name: made.shown()[name] for name in ("traffic", "maintenance")})
            made.run(*words).require()
            os.killpg(process.pid, signal.SIGKILL)
    with edges.running(made):
        found.append({name: made.shown()[name] for name in ("traffic", "maintenance")})
    assert found == [
        {"traffic": "app", "maintenance": "off"},
        {"traffic": "standin", "maintenance": "off"},
        {"traffic": "standin", "maintenance": "on"},
        {"traffic": "app", "maintenance": "on"},
        {"traffic": "app", "maintenance": "off"},
    ]


async def test_after_a_restart_requests_go_where_they_were_sent_to(
    haproxy: Path, tmp_path: Path, app: Backend, standin: Backend, http: aiohttp.ClientSession
) -> None:
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin=standin.address)
    async with started(app, standin):
        with edges.running(made):
            (await asyncio.to_thread(made.run, "traffic", "standin")).require()
        with edges.running(made):
            async with http.get(f"{made.url}/health") as answer:
                assert answer.status == 202
    assert (len(app.passed), len(standin.passed)) == (0, 1)


@pytest.mark.parametrize(
    "text", ["", "setenv EDGE_TRAFFIC nobody\n", "\0\0\0\0", "global\n    setenv EDGE_TR"]
)
async def test_a_state_that_cannot_be_read_sends_requests_to_the_app(
    haproxy: Path, tmp_path: Path, app: Backend, http: aiohttp.ClientSession, text: str
) -> None:
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin="127.0.0.1:1")
    (made.state / "state.cfg").write_text(text)
    async with started(app):
        with edges.running(made):
            async with http.get(f"{made.url}/health") as answer:
                assert answer.status == 202


@timed
async def test_a_reload_loses_no_connection(edge: Edge, app: Backend) -> None:
    async def reload_twice() -> None:
        for _ in range(2):
            (await asyncio.to_thread(edge.run, "reload")).require()
            await asyncio.sleep(0.5)

    async with started(app):
        sent = await both_kinds(edge.url, 5, reload_twice)
    assert_all_accepted(sent, 5)


async def test_a_configuration_that_is_wrong_changes_nothing(
    haproxy: Path, tmp_path: Path, app: Backend, http: aiohttp.ClientSession
) -> None:
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin="127.0.0.1:1")
    async with started(app):
        with edges.running(made):
            certificate = made.state / "live.pem"
            whole = certificate.read_text()
            certificate.write_text(whole[:200])
            refused = await asyncio.to_thread(made.run, "reload")
            assert refused.code == 1
            assert "was not taken" in refused.stderr
            async with http.get(f"{made.url}/health") as answer:
                assert answer.status == 202


async def test_a_reload_keeps_a_choice_made_before(
    edge: Edge, app: Backend, standin: Backend, http: aiohttp.ClientSession
) -> None:
    async with started(app, standin):
        for words in (("traffic", "standin"), ("reload",)):
            (await asyncio.to_thread(edge.run, *words)).require()
        async with http.get(f"{edge.url}/health") as answer:
            assert answer.status == 202
    assert (len(app.passed), len(standin.passed)) == (0, 1)


async def test_a_connection_from_before_a_reload_follows_the_choice(
    edge: Edge, app: Backend, standin: Backend
) -> None:
    """The worker that a reload has replaced keeps it, and takes no commands: the switch waits for its end."""
    async with started(app, standin), aiohttp.ClientSession() as http:
        for words in ((), ("reload",), ("traffic", "standin")):
            if words:
                (await asyncio.to_thread(edge.run, *words)).require()
            if words != ("reload",):
                async with http.get(f"{edge.url}/health") as answer:
                    assert answer.status == 202
    assert (len(app.passed), len(standin.passed)) == (1, 1)


async def test_a_command_is_retried_while_the_master_does_not_listen(edge: Edge) -> None:
    """The master executes itself again when a worker has started."""
    port = free_port()
    environment = {**edge.environment, "EDGE_MASTER_PORT": str(port)}
    reload = asyncio.create_task(
        asyncio.to_thread(call, [str(edges.SCRIPT), "reload"], environment=environment)
    )
    await asyncio.sleep(0.5)
    assert not reload.done()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Success=1\n\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        (await reload).require()


async def test_maintenance(edge: Edge, app: Backend, http: aiohttp.ClientSession) -> None:
    async with started(app):
        (await asyncio.to_thread(edge.run, "maintenance", "on")).require()
        async with http.post(f"{edge.url}/webhook/in", data=b"{}") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert "maintenance" in (await answer.json())["detail"]
        async with http.get(f"{edge.url}/admin") as answer:
            assert (answer.status, answer.content_type) == (503, "text/html")
            assert "manutenção" in await answer.text()
        assert app.passed == []
        (await asyncio.to_thread(edge.run, "maintenance", "off")).require()
        async with http.get(f"{edge.url}/admin") as answer:
            assert answer.status == 202


async def test_drain_waits_for_open_requests_and_reports_the_rest(
    edge: Edge, app: Backend, http: aiohttp.ClientSession
) -> None:
    async def slowly(_request: web.Request, number: int) -> web.StreamResponse:
        from aiohttp import web

        await asyncio.sleep(1.5)
        return web.json_response({"signal_id": str(number)}, status=202)

    app.answer = slowly
    async with started(app):
        asking = asyncio.create_task(http.post(f"{edge.url}/webhook/in", data=b"{}"))
        await asyncio.sleep(0.3)
        left = await asyncio.to_thread(edge.run, "drain", "app", "0")
        assert (left.code, left.stderr) == (3, "edge: app still has 1 requests\n")
        done = await asyncio.to_thread(edge.run, "drain", "app")
        assert (done.code, (await asking).status) == (0, 202)


@pytest.mark.parametrize("words", [(), ("traffic",), ("traffic", "both"), ("maintenance", "of"), ("stop",)])
def test_an_unknown_command_is_explained(edge: Edge, words: tuple[str, ...]) -> None:
    refused = edge.run(*words)
    assert (refused.code, "edge traffic app|standin" in refused.stderr) == (2, True)


def test_without_haproxy_a_command_fails_and_the_choice_counts_at_its_next_start(
    haproxy: Path, tmp_path: Path
) -> None:
    made = edges.make_edge(haproxy, tmp_path, app="127.0.0.1:1", standin="127.0.0.1:2")
    refused = made.run("traffic", "standin")
    assert (refused.code, refused.stderr) == (1, "edge: HAProxy does not answer\n")
    with edges.running(made):
        assert made.shown()["traffic"] == "standin"


class Names(asyncio.DatagramProtocol):
    """An engine's name server: the address of a name, an unknown name, or an answer without an address."""

    def __init__(self, *, denies: bool) -> None:
        self.addresses: dict[str, str] = {}
        self._denies = denies

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        question, kind = data[12 : at + 5], int.from_bytes(data[at + 1 : at + 3], "big")
        address = self.addresses.get(".".join(labels)) if kind == 1 else None
        flags = b"\x81\x83" if self._denies and kind == 1 and not address else b"\x81\x80"
        head = data[:2] + flags + b"\0\1" + (b"\0\1" if address else b"\0\0") + b"\0\0\0\0"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(address) if address else b""
        self._transport.sendto(head + question + record, addr)


@pytest.mark.parametrize("denies", [True, False], ids=["no such name", "no address"])
@timed
async def test_an_app_that_gets_another_address_is_followed(
    haproxy: Path, tmp_path: Path, *, denies: bool
) -> None:
    """A new container has another address, and briefly none. At first the name is unknown, too."""
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(
        lambda: Names(denies=denies), local_addr=("127.0.0.1", 0)
    )
    host, port = transport.get_extra_info("sockname")
    with contextlib.closing(transport):
        first = Backend("first", host="127.0.1.1")
        second = Backend("second", host="127.0.1.2", port=first.port)
        made = edges.make_edge(
            haproxy,
            tmp_path,
            app=f"trading-signal-processor:{first.port}",
            standin=f"standin:{first.port}",
            EDGE_RESOLVER=f"{host}:{port}",
        )

        async def come() -> None:
            await asyncio.sleep(1)
            await first.start()
            names.addresses["trading-signal-processor"] = first.host

        async def replace() -> None:
            names.addresses.clear()
            await first.stop()
            await asyncio.sleep(1)
            await second.start()
            names.addresses["trading-signal-processor"] = second.host

        with contextlib.ExitStack() as stack:
            await asyncio.to_thread(lambda: stack.enter_context(edges.running(made)))
            coming = asyncio.create_task(come())
            async with aiohttp.ClientSession() as http:
                for body in (b'{"n": 1}', b'{"n": 2}'):  # the first one waits until a server listens
                    async with http.post(f"{made.url}/webhook/in", data=body) as answer:
                        assert answer.status == 202
            await coming
            sent = await both_kinds(made.url, 6, replace)
        await first.stop()
        await second.stop()
        assert_all_accepted(sent, 6)
        assert len(second.numbers) > 100


async def test_over_tls_until_there_is_a_certificate(edge: Edge, app: Backend) -> None:
    """With a self-signed certificate, which no client trusts; a failing ACME stops nothing."""
    async with started(app), aiohttp.ClientSession() as http:
        async with http.post(f"{edge.tls_url}/webhook/in", data=b'{"n": 1}', ssl=False) as answer:
            assert answer.status == 202
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(f"{edge.tls_url}/health")
    assert app.passed[0].headers["x-forwarded-proto"] == "https"
    shown = await asyncio.to_thread(
        call, ["openssl", "x509", "-noout", "-subject", "-in", str(edge.state / "live.pem")]
    )
    assert "no certificate yet" in shown.stdout


def make_certificate(folder: Path, name: str) -> bytes:
    """Create a self-signed certificate for 127.0.0.1, and its key, as PEM."""
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", str(folder / f"{name}.pem"), "-keyout", str(folder / f"{name}.key")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    call(["openssl", "req", "-x509", *kind, *names, *files]).require()
    return (folder / f"{name}.pem").read_bytes() + b"\n\n" + (folder / f"{name}.key").read_bytes()


@timed
async def test_a_certificate_is_activated_without_a_lost_connection(
    edge: Edge, app: Backend, tmp_path: Path
) -> None:
    """Alerts over TLS continue on new and on kept connections; a restart loads the certificate."""
    first, second = (make_certificate(tmp_path, name) for name in ("first", "second"))
    assert edge.run("certificate", stdin=first).code == 0

    async def renew() -> None:
        (await asyncio.to_thread(lambda: edge.run("certificate", stdin=second))).require()

    async with started(app):
        sent = await both_kinds(edge.tls_url, 4, renew)
        assert_all_accepted(sent, 4)
        trusted = ssl.create_default_context(cafile=str(tmp_path / "second.pem"))
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{edge.tls_url}/health", ssl=trusted) as answer,
        ):
            assert answer.status == 202
    assert oct((edge.state / "live.pem").stat().st_mode)[-3:] == "600"
    assert b"second" not in edge.log.encode()


def test_an_edge_that_does_not_run_starts_with_the_certificate(haproxy: Path, tmp_path: Path) -> None:
    made = edges.make_edge(haproxy, tmp_path, app="127.0.0.1:1", standin="127.0.0.1:2")
    assert made.run("certificate", stdin=make_certificate(tmp_path, "early")).code == 0
    with edges.running(made):
        shown = call(["openssl", "x509", "-noout", "-subject", "-in", str(made.state / "live.pem")])
    assert "early" in shown.stdout


@pytest.mark.parametrize("damage", [lambda _: b"", lambda pem: pem[:300], lambda pem: pem.split(b"\n\n")[0]])
def test_an_incomplete_certificate_changes_nothing(
    edge: Edge, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    before = (edge.state / "live.pem").read_bytes()
    refused = edge.run("certificate", stdin=damage(make_certificate(tmp_path, "new")))
    assert (refused.code, (edge.state / "live.pem").read_bytes()) == (1, before)


async def test_a_choice_counts_from_the_next_start(
    haproxy: Path, tmp_path: Path, app: Backend, standin: Backend
) -> None:
    """A flow chooses before the edge runs for the first time."""
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin=standin.address)
    made.run("choose", "standin").require()
    with edges.running(made):
        assert made.shown()["traffic"] == "standin"


@pytest.mark.parametrize(
    ("files", "configuration", "why"),
    [
        (1024, "", "a container may open 1024 files here, and it needs 4100 (ulimit nofile)"),
        (8192, "    nonsense\n", "unknown keyword 'nonsense'"),
    ],
)
async def test_nothing_is_chosen_for_an_edge_that_could_not_start(
    haproxy: Path, tmp_path: Path, files: int, configuration: str, why: str
) -> None:
    """The flow ends before the app is stopped for it."""
    made = edges.make_edge(haproxy, tmp_path, app="127.0.0.1:1", standin="127.0.0.1:2")
    folder = tmp_path / "image"
    shutil.copytree(edges.IMAGE, folder)
    with (folder / "haproxy.cfg").open("a") as file:
        file.write(configuration)
    refused = call(
        ["prlimit", f"--nofile={files}:{files}", str(edges.SCRIPT), "choose", "standin"],
        environment={**made.environment, "EDGE_FOLDER": str(folder)},
    )
    assert (refused.code, why in refused.stderr) == (1, True), refused.stderr
    with edges.running(made):
        assert made.shown()["traffic"] == "app"


async def test_requests_in_flight_are_answered_when_the_edge_is_stopped(
    haproxy: Path, tmp_path: Path, app: Backend
) -> None:
    """The signal is the one that stops the container (docker-compose.yml)."""
    arrived = asyncio.Event()

    async def slow(request: web.Request, number: int) -> web.StreamResponse:
        arrived.set()
        await asyncio.sleep(1)
        return await accept(request, number)

    app.answer = slow
    made = edges.make_edge(haproxy, tmp_path, app=app.address, standin="127.0.0.1:1")
    definition = yaml.safe_load((edges.IMAGE.parents[1] / "docker-compose.yml").read_text())
    async with started(app), aiohttp.ClientSession() as http:
        with edges.running(made) as process:
            posting = asyncio.create_task(http.post(f"{made.url}/webhook/in", json={"n": 1}))
            await arrived.wait()
            process.send_signal(signal.Signals[definition["services"]["edge"]["stop_signal"]])
            async with await posting as answer:
                assert answer.status == 202
            await asyncio.to_thread(process.wait, 10)


async def test_the_log_has_no_paths(edge: Edge, http: aiohttp.ClientSession) -> None:
    """A webhook's path or query may be its secret."""
    async with http.get(f"{edge.url}/webhook/in/SECRET?secret=SECRET") as answer:
        assert answer.status == 503
    line = next(line for line in edge.log.splitlines() if "failed or repeated" in line)
    assert json.loads(line)["status"] == 503
    assert "SECRET" not in edge.log
