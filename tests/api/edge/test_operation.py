"""Commands, restarts, reloads and certificates of the edge: none loses a request or the chosen server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
import yaml  # type: ignore[import-untyped]

from tests.api.backend import Backend, accept, started
from tests.hosts import edge as edges
from tests.hosts.docker import call
from tests.hosts.ports import free_port
from tests.hosts.timed import timed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp import web

    from tests.hosts.edge import Edge
from tests.api.edge.load import assert_all_accepted, both_kinds


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
