"""The application behind the edge: real processes of it, a real database, and every 202 in it once."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import aiohttp
import asyncpg
import pytest

from tests.api.conftest import ADMIN_TOKEN
from tests.api.process import answering, process
from tests.hosts import edge as edges
from tests.hosts.load import Sent, stream
from tests.hosts.ports import free_port
from tests.hosts.timed import timed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.hosts.edge import Edge

SECRET = "webhook-secret-of-the-tests"
TICKERS = ("AAPL", "MSFT")


class Containers:
    """The app's two containers, as processes on two ports with one database."""

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self.ports = {"app": free_port(), "standin": free_port()}
        self._running = dict.fromkeys(self.ports, contextlib.ExitStack())

    async def start(self, name: str) -> None:
        """Start a container, and wait until it is healthy."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        (folder / "config").mkdir(exist_ok=True)
        (folder / "config" / "finviz_config.json").write_text(
            '{"strategies": [{"name": "mine", "url": "list:AAPL,MSFT"}]}'
        )
        stack = contextlib.ExitStack()
        settings = {
            **self._settings,
            "CONFIG_DIR": str(folder / "config"),
            "DATA_DIR": str(folder / "data"),
        }
        _, url = stack.enter_context(process(settings, folder, self.ports[name]))
        self._running[name] = stack
        async with aiohttp.ClientSession() as http:
            await answering(http, url)

    def kill(self, name: str) -> None:
        """Kill it, as `kill -9` does."""
        self._running[name].close()

    def close(self) -> None:
        """End both."""
        for stack in self._running.values():
            stack.close()


@pytest.fixture
def containers(database_url: str, tmp_path: Path) -> Iterator[Containers]:
    """Prepare both containers without starting them."""
    settings = {
        "DATABASE_URL": database_url,
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "WEBHOOK_SECRET": SECRET,
        "FORWARDED_ALLOW_IPS": "*",
    }
    found = Containers(settings, tmp_path)
    yield found
    found.close()


@pytest.fixture
def edge(haproxy: Path, tmp_path: Path, containers: Containers) -> Iterator[Edge]:
    """Start an edge for both."""
    app, standin = (f"127.0.0.1:{containers.ports[name]}" for name in ("app", "standin"))
    made = edges.make_edge(haproxy, tmp_path, app=app, standin=standin)
    with edges.running(made):
        yield made


@timed
async def test_a_swap_of_real_processes_loses_no_alert(
    edge: Edge, containers: Containers, database_url: str
) -> None:
    """The stand-in serves while the app is killed and restarted; then the traffic moves back."""

    async def swap() -> None:
        (await asyncio.to_thread(edge.run, "traffic", "standin")).require()
        (await asyncio.to_thread(edge.run, "drain", "app")).require()
        containers.kill("app")
        await containers.start("app")
        (await asyncio.to_thread(edge.run, "traffic", "app")).require()
        (await asyncio.to_thread(edge.run, "drain", "standin")).require()
        containers.kill("standin")

    async def nothing() -> None:
        return

    def load(first: int, *, keep_alive: bool, act: Callable[[], Awaitable[None]]) -> Awaitable[Sent]:
        return stream(
            f"{edge.url}/webhook/in",
            SECRET,
            tickers=TICKERS,
            rate=50,
            seconds=12,
            midway=act,
            first=first,
            keep_alive=keep_alive,
        )

    await asyncio.gather(containers.start("app"), containers.start("standin"))
    sent = await asyncio.gather(
        load(0, keep_alive=False, act=swap), load(100_000, keep_alive=True, act=nothing)
    )
    for each in sent:
        assert (each.refused, each.unanswered, len(each.accepted)) == ({}, set(), 600)
        assert each.slowest_seconds < 3
    connection = await asyncpg.connect(database_url)
    rows = [str(row[0]) for row in await connection.fetch("SELECT id FROM signals")]
    await connection.close()
    accepted = [signal for each in sent for signal in each.accepted.values()]
    assert sorted(rows) == sorted(accepted)
    assert len(set(accepted)) == 1200


async def test_the_address_in_log_and_actions_log_is_the_clients(
    edge: Edge, containers: Containers, tmp_path: Path
) -> None:
    await containers.start("app")
    forged = {"X-Forwarded-For": "6.6.6.6", "Authorization": f"Bearer {ADMIN_TOKEN}"}
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.7", 0))
    async with aiohttp.ClientSession(edge.url, connector=connector, headers=forged) as http:
        async with http.post("/admin/delivery/pause") as answer:
            assert answer.status == 200
        async with http.get("/admin/actions-log") as answer:
            newest = (await answer.json())["actions"][0]
        async with http.post("/webhook/in", data=b"[]", headers={"X-Webhook-Secret": SECRET}) as answer:
            assert answer.status == 422
    assert newest["origin"] == "127.0.0.7"
    log = (tmp_path / "app" / "process.log").read_text()
    assert "127.0.0.7" in log
    assert "6.6.6.6" not in log


async def test_the_live_page_passes(edge: Edge, containers: Containers) -> None:
    await containers.start("app")
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with (
        aiohttp.ClientSession(edge.url, headers=headers) as http,
        http.ws_connect("/ws/admin-updates") as live,
    ):
        async with asyncio.timeout(10):
            assert (await live.receive_json())["type"]
