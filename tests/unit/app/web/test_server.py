"""The HTTP servers: real sockets."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from app.ops import operations_port
from app.settings import Settings
from app.web.server import Server
from tests.hosts.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

DATABASE = "postgresql://postgres:x@127.0.0.1/x"


async def hello(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer with the scheme that the request came by."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["scheme"].encode()})


async def operations(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer as the operations app."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"operations"})


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Yield the app's port and the operations port of a running server; both are free after it ended."""
    found = Settings(database_url=DATABASE, server_port=free_port())
    server = Server(hello, found)
    bound = operations_port.bind(free_port())
    port = int(bound.getsockname()[1])
    server.serve_operations(operations, bound)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield found.server_port, port
    server.should_exit = True
    thread.join(timeout=20)
    assert not thread.is_alive()
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)


def ask(url: str) -> bytes:
    """Return the response, as soon as the server listens."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - ours
                return bytes(answer.read())
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.1)
    raise TimeoutError(url)


def test_each_app_answers_on_its_port(ports: tuple[int, int]) -> None:
    assert [ask(f"http://127.0.0.1:{port}/") for port in ports] == [b"http", b"operations"]


def test_an_answer_without_a_body_and_a_second_one_on_the_same_connection(ports: tuple[int, int]) -> None:
    """Data held for the next turn of the event loop is sent although nothing follows it."""
    assert ask(f"http://127.0.0.1:{ports[0]}/") == b"http"  # it listens
    connection = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=5)
    connection.request("HEAD", "/")
    assert connection.getresponse().read() == b""
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"http"
    connection.close()


# Python cannot read the source of this script again, so no traceback of it shows its lines.
_FAILING = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from app import logging
from app.web.server import Server
from app.settings import Settings

@asynccontextmanager
async def lifespan(app):
    yield int("S3CRETPART")

logging.configure("INFO")
Server(Starlette(lifespan=lifespan), Settings.from_environment()).run()
"""


def test_a_failed_start_is_logged_without_the_exceptions_text() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FAILING],
        env={"DATABASE_URL": DATABASE, "SERVER_PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "S3CRETPART" not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    failed = next(line for line in lines if "exception" in line)
    assert failed["event"] == "the application could not start or end in order"
    assert failed["exception"].endswith("ValueError")
    assert "in lifespan" in failed["exception"]
