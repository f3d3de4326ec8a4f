"""Admin calls of the replaced system: accepted with LEGACY_API only, and their token is never stored."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import pytest_asyncio

from app.web.legacy_token import LegacyToken
from tests.api.conftest import ADMIN_TOKEN
from tests.api.legacy import tables_with
from tests.api.operator import BEARER, ask, log_of

if TYPE_CHECKING:
    import io
    from collections.abc import Awaitable, Callable

    import asyncpg

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

TOKEN = {"token": ADMIN_TOKEN}
CALLS = [
    ("GET", "/admin/system-info"),
    ("POST", "/admin/system-info"),
    ("GET", "/admin/finviz/config"),
    ("POST", "/admin/finviz/config"),
    ("POST", "/admin/orders/33ee5712-d95f-49d3-bb50-1f045d4659ca/close"),
    ("GET", "/admin/sell-all-queue"),
    ("POST", "/admin/sell-all-queue"),
]


@pytest_asyncio.fixture
async def legacy(start_app: StartApp) -> AppServer:
    """An application with LEGACY_API=true."""
    return await start_app(legacy_api=True)


async def call(app: AppServer, method: str, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Send a JSON body without a token in a header; return status and answer."""
    async with app.http.request(method, path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_without_the_setting_the_old_calls_are_refused(
    app_server: AppServer, method: str, path: str
) -> None:
    assert (await call(app_server, method, path, TOKEN))[0] == 401
    async with app_server.http.request(method, path, headers=BEARER) as answer:
        assert answer.status == 404


async def test_without_the_setting_a_token_in_the_body_of_a_call_of_today_is_refused(
    app_server: AppServer,
) -> None:
    assert (await call(app_server, "POST", "/admin/order/sell-all", TOKEN))[0] == 401
    assert await log_of(app_server) == []


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_an_old_call_needs_the_token(legacy: AppServer, method: str, path: str) -> None:
    for body in ({}, {"token": None}, {"token": ["x"]}, [ADMIN_TOKEN], ADMIN_TOKEN):
        assert (await call(legacy, method, path, body))[0] == 401
    assert legacy.context.denials.episodes() == {}


async def test_a_wrong_token_in_a_body_waits_and_is_counted_like_a_bearer(legacy: AppServer) -> None:
    loop = asyncio.get_running_loop()
    for least in (0.25, 0.5):
        began = loop.time()
        status, answer = await call(legacy, "POST", "/admin/order/sell-all", {"token": "wrong"})
        assert (status, "wrong token" in answer["detail"]) == (401, True)
        assert loop.time() - began >= least
    assert legacy.context.denials.episodes()["admin_token"].count == 2
    assert await log_of(legacy) == []


async def test_the_old_names_answer_what_the_calls_of_today_answer(
    legacy: AppServer, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    await database.execute("INSERT INTO positions (ticker) VALUES ('NVDA'), ('BRK-B')")
    today = await ask(legacy, "GET", "/admin/status")
    for method in ("GET", "POST"):
        status, answer = await call(legacy, method, "/admin/system-info", TOKEN)
        assert (status, answer.keys()) == (200, today.keys())
    expected = {"tickers": ["BRK-B", "NVDA"], "count": 2}
    assert await call(legacy, "GET", "/admin/sell-all-queue", TOKEN) == (200, expected)
    assert await call(legacy, "POST", "/admin/sell-all-queue", TOKEN) == (200, expected)
    assert await call(legacy, "POST", "/admin/sell-all-queue", {**TOKEN, "ticker": "brk.b"}) == (
        200,
        expected,
    )
    status, answer = await call(legacy, "POST", "/admin/sell-all-queue", {**TOKEN, "ticker": "AMD"})
    assert (status, "no position in AMD is open" in answer["detail"]) == (409, True)


async def test_the_flat_strategy_is_the_active_one_and_a_change_keeps_the_rest(legacy: AppServer) -> None:
    await ask(
        legacy, "POST", "/admin/finviz/strategies", 201, {"name": "old", "url": "list:AAPL", "top_n": 7}
    )
    await ask(legacy, "POST", "/admin/finviz/strategies/old/activate")
    status, before = await call(legacy, "GET", "/admin/finviz/config", TOKEN)
    assert (status, before["finviz_url"], before["top_n"]) == (200, "list:AAPL", 7)
    change = {**TOKEN, "finviz_url": "list:NVDA", "reprocess_enabled": True}
    status, after = await call(legacy, "POST", "/admin/finviz/config", change)
    assert (status, after) == (200, {**before, "finviz_url": "list:NVDA", "reprocess_enabled": True})
    for wrong in ({"top_n": 0}, {"top_n": 10**30}, {"finviz_url": "\ud800"}, {"finviz_url": "a\0"}):
        await ask(legacy, "POST", "/admin/finviz/config", 422, wrong)
    assert (await call(legacy, "POST", "/admin/finviz/config", {**TOKEN, "top_n": 0}))[0] == 422
    assert {entry[2] for entry in (await log_of(legacy))[2:]} == {"strategy.change"}


@pytest.mark.parametrize("by", ["position", "signal"])
async def test_an_old_close_places_the_order_that_closes_the_position(
    legacy: AppServer, database: asyncpg.Connection[asyncpg.Record], by: str
) -> None:
    signal_id = uuid4()
    position_id = await database.fetchval(
        "INSERT INTO positions (ticker, opened_by) VALUES ('NVDA', $1) RETURNING id", signal_id
    )
    order_id = position_id if by == "position" else signal_id
    status, answer = await call(legacy, "POST", f"/admin/orders/{order_id}/close", TOKEN)
    assert (status, answer["queued"], answer["orders"][0]["ticker"]) == (202, 1, "NVDA")
    status, answer = await call(legacy, "POST", f"/admin/orders/{uuid4()}/close", TOKEN)
    assert (status, "no such position" in answer["detail"]) == (404, True)


async def test_current_calls_accept_the_token_in_their_body_and_never_store_it(
    logged: io.StringIO, start_app: StartApp, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    legacy = await start_app(legacy_api=True)
    status, answer = await call(
        legacy, "POST", "/admin/order/sell-individual", {"ticker": "NVDA", **TOKEN, "price": 1.50}
    )
    assert (status, answer["queued"]) == (202, 1)
    assert (await call(legacy, "POST", "/admin/delivery/pause", TOKEN))[0] == 200
    assert (await call(legacy, "PUT", "/admin/system/config", {**TOKEN, "retention_days": 40}))[0] == 200
    status, _ = await call(legacy, "PUT", "/admin/system/config", {**TOKEN, "retention_days": "x"})
    assert status == 422
    assert [entry[0] for entry in await log_of(legacy)] == ["token"] * len(await log_of(legacy))
    assert await tables_with(database, ADMIN_TOKEN) == []
    assert ADMIN_TOKEN not in logged.getvalue()


async def test_another_origin_changes_nothing_with_a_token_in_the_body(legacy: AppServer) -> None:
    status, _ = await call(legacy, "POST", "/admin/order/sell-all", TOKEN, Origin="https://elsewhere.example")
    assert status == 403


async def test_a_header_counts_before_the_body(legacy: AppServer) -> None:
    status, _ = await call(
        legacy, "POST", "/admin/order/sell-all", TOKEN, Authorization="Bearer something-else"
    )
    assert status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"token": ',
        b"[" * 60_000,
        b'{"a":' * 20_000,
        b'{"token": "\xff"}',
        b'{"token": "\\ud800"}',
        b'{"token": "' + b"x" * 70_000 + b'"}',
        b"x" * 2_000_000,
    ],
    ids=["empty", "brace", "cut-off", "nested", "objects", "bytes", "half-pair", "long", "large"],
)
async def test_a_body_of_any_kind_is_answered(legacy: AppServer, body: bytes) -> None:
    async with legacy.http.post("/admin/order/sell-all", data=body) as answer:
        assert answer.status in {401, 413}
    assert await log_of(legacy) == []


async def test_a_body_that_never_arrives_is_answered(
    legacy: AppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.legacy_token._SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(legacy.url.rpartition(":")[2]))
    writer.write(
        b"POST /admin/order/sell-all HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b'{"token": "'
    )
    async with asyncio.timeout(20):
        assert b" 401 " in await reader.readline()
    writer.close()


async def test_a_body_in_parts_keeps_its_numbers() -> None:
    """The other fields keep their bytes: no number loses digits."""
    seen: list[bytes] = []

    async def inner(scope: Any, receive: Any, _send: Any) -> None:
        message = await receive()
        seen.append(dict(scope["headers"])[b"authorization"])
        seen.append(dict(scope["headers"])[b"content-length"])
        seen.append(message["body"])

    parts = [b' {"token": "a', b'b", "price": 1.', b"10000000000000000000001}"]
    messages = [{"type": "http.request", "body": each, "more_body": each != parts[-1]} for each in parts]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(_: Any) -> None:
        pass

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/admin/order/sell-all",
        "headers": [(b"content-length", b"1")],
    }
    await LegacyToken(inner)(scope, receive, send)
    assert seen == [b"Bearer ab", b"35", b'{"price":1.10000000000000000000001}']


async def test_the_document_has_the_old_calls_only_with_the_setting(
    legacy: AppServer, start_app: StartApp
) -> None:
    async def paths(app: AppServer) -> dict[str, Any]:
        async with app.http.get("/openapi.json") as answer:
            found: dict[str, Any] = json.loads(await answer.text())["paths"]
        return found

    with_setting, without = await paths(legacy), await paths(await start_app())
    old = with_setting.keys() - without.keys()
    assert old == {
        "/admin/system-info",
        "/admin/finviz/config",
        "/admin/orders/{order_id}/close",
        "/admin/sell-all-queue",
    }
    operations = [operation for path in with_setting.values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    for path in old:
        for operation in with_setting[path].values():
            assert operation["security"] == [{"HTTPBearer": []}]
            assert {"401", "403", "503"} <= operation["responses"].keys()
