"""Every denial is counted and logged: wrong secrets, wrong tokens, misspelt paths; no secret is shown."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import asyncpg
import pytest
import structlog
from prometheus_client import REGISTRY
from yarl import URL

from tests.api.conftest import ADMIN_TOKEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

SECRET = "s3cret-of-the-sender"
BEARER = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def overview(app: AppServer) -> dict[str, Any]:
    """Return the content of /admin/status."""
    async with app.http.get("/admin/status", headers=BEARER) as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
        return found


async def post(app: AppServer, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """Post to a path without normalising it."""
    url = URL(app.url + path, encoded=True)
    async with app.http.post(url, data=body, headers=headers) as answer:
        return answer.status, await answer.json()


def alert(number: int) -> bytes:
    """Return a unique alert."""
    return json.dumps({"ticker": "NVDA", "action": "buy", "n": number}).encode()


async def logged(lines: list[Any], kind: str) -> list[Any]:
    """Wait for the log line about a kind of denial."""
    async with asyncio.timeout(30):
        while True:
            if found := [line for line in lines if line.get("kind") == kind]:
                return found
            await asyncio.sleep(0.05)  # written by a worker, once a second


@pytest.fixture
def log_lines() -> Iterator[list[Any]]:
    """Record what the application logs."""
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_a_wrong_secret_leaves_one_line_an_alarm_and_a_count(
    start_app: StartApp, log_lines: list[Any]
) -> None:
    app = await start_app(webhook_secret=SECRET)
    before = REGISTRY.get_sample_value("tsp_denials_total", {"kind": "webhook_secret"}) or 0.0
    statuses = {(await post(app, "/webhook/in/wrong", alert(n)))[0] for n in range(120)}
    assert statuses == {401}

    seen = await overview(app)
    (refused,) = seen["refused"]
    assert (refused["kind"], refused["count"]) == ("webhook_secret", 120)
    assert refused["last_address"] == refused["top_address"] == "127.0.0.1"
    (alarm,) = [each for each in seen["alarms"] if each["code"] == "denied_webhook_secret"]
    assert "120" in alarm["text"]
    assert "127.0.0.1" in alarm["text"]
    assert REGISTRY.get_sample_value("tsp_denials_total", {"kind": "webhook_secret"}) == before + 120

    lines = await logged(log_lines, "webhook_secret")
    assert len(lines) == 1
    assert lines[0]["client"] == "127.0.0.1"
    async with app.http.get("/admin/page/refused", headers=BEARER) as answer:
        page = await answer.text()
    assert "denied-webhook_secret" in page
    assert await app.context.pool.fetchval("SELECT count(*) FROM refused_posts") == 0


async def test_wrong_tokens_are_logged_with_their_address_on_every_route(
    app_server: AppServer, log_lines: list[Any]
) -> None:
    wrong = {"Authorization": "Bearer not-the-token"}
    async with app_server.http.get("/admin/status", headers=wrong) as answer:
        assert answer.status == 401
    async with app_server.http.post("/admin/sign-in", data={"token": "not-the-token"}) as answer:
        assert answer.status == 401
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await app_server.http.ws_connect("/ws/admin-updates", headers=wrong)
    seen = await overview(app_server)
    kinds = ["admin_token", "sign_in", "websocket"]
    assert [(each["kind"], each["count"], each["last_address"]) for each in seen["refused"]] == [
        (kind, 1, "127.0.0.1") for kind in kinds
    ]
    assert {f"denied_{kind}" for kind in kinds} <= {alarm["code"] for alarm in seen["alarms"]}
    assert (await logged(log_lines, "sign_in"))[0]["client"] == "127.0.0.1"


async def test_a_session_that_ended_is_no_denial(app_server: AppServer) -> None:
    for headers in ({}, {"Cookie": "tsp_session=ended"}):
        async with app_server.http.get("/admin/status", headers=headers) as answer:
            assert answer.status == 401
    assert (await overview(app_server))["refused"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/webhook/in/{secret}",
        "/webhook/in/{secret}/",
        "/webhook/in?secret={secret}",
        "/webhook/in/?secret={secret}",
    ],
)
@pytest.mark.parametrize("secret", [SECRET, "a+b%2Fc==", "two%20words"])
async def test_every_way_to_present_the_secret_is_accepted(
    start_app: StartApp, path: str, secret: str
) -> None:
    app = await start_app(webhook_secret=str(URL(f"http://x/{secret}", encoded=True).path)[1:])
    status, answer = await post(app, path.format(secret=secret), alert(1))
    assert (status, answer["ticker"]) == (202, "NVDA")


async def test_a_trailing_slash_changes_nothing(start_app: StartApp) -> None:
    app = await start_app(webhook_secret=SECRET)
    status, _ = await post(app, "/webhook/in/", alert(1), **{"X-Webhook-Secret": SECRET})
    assert status == 202
    body = json.dumps({"ticker": "NVDA", "secret": SECRET}).encode()
    assert (await post(app, "/webhook/in/", body))[0] == 202


@pytest.mark.parametrize("path", ["/Webhook/in", "/webhook", "/webook/in", "/webhook/in/a/b", "/hook", "/"])
async def test_a_misspelt_path_is_answered_with_the_right_one_and_counted(
    start_app: StartApp, database_url: str, path: str
) -> None:
    app = await start_app(webhook_secret=SECRET)
    for number in range(2):
        status, answer = await post(app, path, alert(number))
        assert status == 404
        assert "/webhook/in" in answer["detail"]
        assert "ADMIN_TOKEN" not in answer["detail"]
    seen = await overview(app)
    assert [(each["kind"], each["count"]) for each in seen["refused"]] == [("webhook_path", 2)]
    assert "denied_webhook_path" in {alarm["code"] for alarm in seen["alarms"]}
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM signals") == 0
    await connection.close()


async def test_another_method_is_refused_with_advice(app_server: AppServer) -> None:
    async with app_server.http.get("/webhook/in") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert "POST" in (await answer.json())["detail"]
    async with app_server.http.get("/Webhook/in") as answer:
        assert answer.status == 404
    assert (await overview(app_server))["refused"] == []


async def test_no_secret_of_an_address_shows_anywhere(start_app: StartApp, log_lines: list[Any]) -> None:
    app = await start_app(webhook_secret=SECRET)
    shown = ""
    for path in (
        f"/webhook/in/{SECRET}",
        f"/webhook/in/{SECRET}/?secret={SECRET}",
        f"/Webhook/in/{SECRET}",
        f"/webhook/in/{SECRET}/more",
        f"/webhook?secret={SECRET}",
        f"/nowhere/{SECRET}?secret={SECRET}",
    ):
        for body in (alert(1), b"not json", b"x" * 70_000):
            shown += str(await post(app, path, body))
        async with app.http.get(path, headers={"Accept": "text/html"}, allow_redirects=False) as answer:
            # the address of the sign-in form contains the target of its redirect
            shown += await answer.text() if "nowhere" not in path else ""
    seen = await overview(app)
    async with app.http.get("/admin/page/refused", headers=BEARER) as answer:
        shown += await answer.text()
    await logged(log_lines, "webhook_path")
    shown += json.dumps(seen) + str(log_lines)
    shown += str([(sample.name, sample.labels) for family in REGISTRY.collect() for sample in family.samples])
    assert SECRET not in shown


@pytest.mark.parametrize(("length", "sent"), [("100", 10), ("70000", 100), ("70000", 70_000)])
async def test_an_unauthenticated_body_that_never_arrives_is_counted(
    start_app: StartApp, length: str, sent: int
) -> None:
    app = await start_app(webhook_secret=SECRET)
    host, _, port = app.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST /webhook/in HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
    writer.write(b"{" * sent)
    assert (await reader.readline()).split()[1] in {b"408", b"413"}
    writer.close()
    assert [each["kind"] for each in (await overview(app))["refused"]] == ["webhook_body"]
