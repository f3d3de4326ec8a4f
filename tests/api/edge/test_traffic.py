"""The edge sends requests to the chosen server, and holds them while none serves: no alert is refused."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest

from tests.api.backend import Backend, accept, hang_up, started
from tests.hosts import edge as edges
from tests.hosts.timed import timed

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from tests.hosts.edge import Edge
from tests.api.edge.load import RATE, assert_all_accepted, both_kinds


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
