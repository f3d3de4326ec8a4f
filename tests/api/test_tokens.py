"""Named tokens: the actor of each action, read-only scopes, and what ends with a token."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import pytest
from starlette.routing import Mount, Route, WebSocketRoute

from app.config.model import SYSTEM_FILE
from app.web.authentication import COOKIE, SIGN_IN, SIGN_OUT, is_public
from app.web.throttle import REFUSALS_A_MINUTE
from tests.api.conftest import ADMIN_TOKEN, serve
from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from app.settings import Settings
    from app.web.throttle import WrongAttempts
    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

ANA, BOB = "token-of-ana-123", "token-of-bob-456"
SECONDS = 30
EVERYTHING = """
    SELECT (SELECT count(*) FROM actions WHERE action <> 'token.refuse'),
           (SELECT revision FROM configuration),
           (SELECT count(*) FROM signals), (SELECT count(*) FROM settled_alarms),
           (SELECT count(*) FROM notifications)
"""


def entry(name: str, token: str, scope: str) -> dict[str, str]:
    """Return a token as in the file."""
    return {"name": name, "sha256": sha256(token.encode()).hexdigest(), "scope": scope}


def configure(folder: Path, *tokens: dict[str, str]) -> None:
    """Write the tokens into the operator's file."""
    (folder / SYSTEM_FILE).write_text(json.dumps({"tokens": tokens}))


async def status_of(app: AppServer, token: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Send a request with a token; return status and body."""
    headers = {"Authorization": f"Bearer {token}"}
    async with app.http.request(method, path, json=body, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def sign_in(app: AppServer, token: str) -> str:
    """Sign in, and return the session cookie."""
    form = {"token": token}
    async with app.http.post(SIGN_IN, data=form, allow_redirects=False) as answer:
        assert answer.status == 303
        return answer.cookies[COOKIE].value


async def opened(app: AppServer, cookie: str) -> int:
    """Return the status of the page's data for a session."""
    async with app.http.get("/admin/status", headers={"Cookie": f"{COOKIE}={cookie}"}) as answer:
        return answer.status


def operations(app: AppServer) -> set[tuple[str, str]]:
    """Return method and path of every protected route, with path parameters filled in."""
    found = set()
    for route in app.app.routes:
        assert isinstance(route, Route | Mount | WebSocketRoute), route
        if isinstance(route, Route) and not is_public(route.path):
            path = re.sub(r"\{[a-z]+_id\}", str(uuid4()), route.path).replace("{name:path}", "nobody")
            found |= {(method, path) for method in route.methods or ()}
    return found


async def test_a_token_that_may_only_read_changes_nothing_by_any_route(
    start_app: StartApp, tmp_path: Path
) -> None:
    configure(tmp_path, entry("ana", ANA, "operate"), entry("Bob B.", BOB, "read"))
    app = await start_app()
    await ask(app, "GET", "/admin/status")
    before = await app.context.pool.fetchrow(EVERYTHING)
    seen = set()
    for method, path in sorted(operations(app)):
        status, text = await status_of(app, BOB, method, path)
        seen.add(method)
        if path == SIGN_OUT:
            assert status == 303
        elif method in {"GET", "HEAD"}:
            assert status in {200, 303, 404, 422}, (method, path, text)
        else:
            assert (status, json.loads(text)) == (403, {"detail": "the token 'Bob B.' may only read"}), path
    assert {"GET", "POST", "PUT", "DELETE"} <= seen
    assert ("POST", "/admin/order/sell-all") in operations(app)
    assert await app.context.pool.fetchrow(EVERYTHING) == before
    # what an operator may do, and methods that no route has
    assert (await status_of(app, ANA, "POST", "/admin/delivery/pause"))[0] == 200
    assert (await status_of(app, BOB, "PATCH", "/admin/status"))[0] == 403


async def test_the_actions_log_has_names(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, entry("ana", ANA, "operate"))
    app = await start_app()
    await status_of(app, ANA, "POST", "/admin/delivery/pause")
    headers = {"Cookie": f"{COOKIE}={await sign_in(app, ANA)}", "Origin": app.url}
    async with app.http.post("/admin/delivery/resume", headers=headers) as answer:
        assert answer.status == 200
    await ask(app, "POST", "/admin/engine/pause")
    await status_of(app, ANA, "DELETE", "/admin/finviz/strategies/nobody")
    log = (await ask(app, "GET", "/admin/actions-log"))["actions"]
    assert [(each["action"], each["actor"], each["result"] == "done") for each in log] == [
        ("strategy.delete", "ana", False),
        ("engine.pause", "admin", True),
        ("delivery.resume", "ana", True),
        ("delivery.pause", "ana", True),
    ]
    assert log[2]["session"] != log[3]["session"] == "token"
    async with app.http.get("/admin/page/actions", headers=headers) as answer:
        assert "<bdi>ana</bdi>" in await answer.text()


@pytest.mark.parametrize("instead", ["removed", "replaced"])
async def test_with_its_token_every_session_ends_in_every_process(
    start_app: StartApp, tmp_path: Path, instead: str
) -> None:
    configure(tmp_path, entry("ana", ANA, "operate"), entry("bob", BOB, "read"))
    apps = await start_app(), await start_app()
    cookie, other = await sign_in(apps[0], ANA), await sign_in(apps[0], BOB)
    assert [await opened(app, each) for app in apps for each in (cookie, other)] == [200] * 4
    sockets = [
        await app.http.ws_connect(
            "/ws/admin-updates", headers={"Cookie": f"{COOKIE}={cookie}"}, origin=app.url
        )
        for app in apps
    ]
    if instead == "removed":
        await ask(apps[0], "DELETE", "/admin/tokens/ana")
    else:
        configure(tmp_path, entry("ana", "another-token-789", "operate"), entry("bob", BOB, "read"))
    async with asyncio.timeout(SECONDS):
        for socket in sockets:
            while (await socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
                pass
    assert [await opened(app, each) for app in apps for each in (cookie, other)] == [401, 200] * 2
    assert [(await status_of(app, ANA, "GET", "/admin/status"))[0] for app in apps] == [401, 401]


async def test_an_operator_makes_changes_and_deletes_tokens_and_no_text_of_one_is_kept(
    start_app: StartApp, tmp_path: Path
) -> None:
    app = await start_app()
    made = await ask(app, "POST", "/admin/tokens", 201, body={"name": "ana", "scope": "read"})
    assert (await status_of(app, made["token"], "GET", "/admin/status"))[0] == 200
    assert (await status_of(app, made["token"], "POST", "/admin/engine/pause"))[0] == 403
    await ask(app, "PUT", "/admin/tokens/ana", body={"scope": "operate"})
    assert (await status_of(app, made["token"], "POST", "/admin/engine/pause"))[0] == 200
    for wrong, status in (
        ({"name": "ANA", "scope": "read"}, 422), ({"name": "admin", "scope": "read"}, 422),
        ({"name": "x", "scope": "all"}, 422), ({"name": "", "scope": "read"}, 422), ({"scope": "read"}, 422),
        ({"name": "x\0", "scope": "read"}, 422), ({"name": "x" * 41, "scope": "read"}, 422),
    ):  # fmt: skip
        await ask(app, "POST", "/admin/tokens", status, body=wrong)
    listed = (await ask(app, "GET", "/admin/tokens"))["tokens"]
    assert [(each["name"], each["scope"]) for each in listed] == [("admin", "operate"), ("ana", "operate")]
    digest = sha256(made["token"].encode()).hexdigest()
    stored = (tmp_path / SYSTEM_FILE).read_text()
    assert digest in stored
    assert made["token"] not in stored
    await ask(app, "DELETE", "/admin/tokens/ana")
    await ask(app, "DELETE", "/admin/tokens/ana", 404)
    assert (await status_of(app, made["token"], "GET", "/admin/status"))[0] == 401
    paths = "/admin/actions-log", "/admin/system/config", "/admin/page/sources", "/admin/page/actions"
    for path in (*paths, "/admin/actions-log/export"):
        text = (await status_of(app, "admin-token-of-the-tests", "GET", path))[1]
        assert digest not in text
        assert made["token"] not in text


async def until(is_so: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(SECONDS):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.05)


async def until_status(app: AppServer, token: str, expected: int) -> None:
    """Wait until a request with the token has this status."""
    async with asyncio.timeout(SECONDS):
        while True:
            if (await status_of(app, token, "GET", "/admin/tokens"))[0] == expected:
                return
            await asyncio.sleep(0.2)


async def test_a_named_token_resets_no_throttle(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, entry("bob", BOB, "read"))
    app = await start_app()
    attempts: WrongAttempts = app.app.state.wrong_attempts
    assert (await status_of(app, "wrong", "GET", "/admin/status"))[0] == 401
    assert (await status_of(app, BOB, "GET", "/admin/status"))[0] == 200
    await sign_in(app, BOB)
    assert attempts.record("127.0.0.1") == 0.5
    await sign_in(app, ADMIN_TOKEN)
    assert attempts.record("127.0.0.1") == 0.25
    await ask(app, "GET", "/admin/status")
    assert attempts.record("127.0.0.1") == 0.25


async def test_of_an_entry_known_fields_are_shown_and_no_digest(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, entry("ana", ANA, "read"))
    app = await start_app()
    await until_status(app, ANA, 200)
    configure(tmp_path, {**entry("bob", BOB, "read"), "token": BOB, "note": "s3cret note"})
    await until(lambda: app.context.config_problems)
    assert "tokens[0].token" in str(app.context.config_problems[SYSTEM_FILE])
    configure(tmp_path, entry("bob", BOB, "operate"))
    await until_status(app, BOB, 200)
    texts = [
        (await status_of(app, ADMIN_TOKEN, "GET", path))[1]
        for path in (
            "/admin/actions-log",
            "/admin/actions-log/export",
            "/admin/page/actions",
            "/admin/tokens",
        )
    ]
    for secret in (BOB, "s3cret note", *(sha256(each.encode()).hexdigest() for each in (ANA, BOB))):
        assert not any(secret in each for each in texts)
    assert '"tokens.bob"' in texts[0]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (entry("copy", ADMIN_TOKEN, "read"), "ADMIN_TOKEN or another entry is the same token"),
        (entry("empty", "", "operate"), "SHA-256 of an empty text"),
        (entry("\N{CYRILLIC SMALL LETTER A}dmin", "token-of-eve", "operate"), "Latin letters"),
        (entry("adm\N{LATIN SMALL LETTER DOTLESS I}n", "token-of-eve", "operate"), "choose another one"),
        (entry("b0b", "token-of-eve", "operate"), "names must be unique"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_wrong_entry_at_the_start_is_named_and_opens_nothing(
    start_app: StartApp, tmp_path: Path, wrong: dict[str, str], reason: str
) -> None:
    configure(tmp_path, entry("bob", BOB, "read"), wrong)
    app = await start_app()
    await until(lambda: app.context.config_problems)
    assert reason in (await ask(app, "GET", "/admin/tokens"))["problem"]
    assert reason in (await status_of(app, ADMIN_TOKEN, "GET", "/admin/page/sources"))[1]
    assert [
        (await status_of(app, each, "GET", "/admin/status"))[0] for each in (BOB, "", "token-of-eve")
    ] == [*(200, 401, 401)]
    await ask(app, "POST", "/admin/engine/pause")  # ADMIN_TOKEN is no reader

    # entries are found by what they are, not by their place
    await ask(app, "PUT", "/admin/tokens/bob", 409, body={"scope": "operate"})
    await ask(app, "DELETE", "/admin/tokens/bob")
    assert (await status_of(app, BOB, "GET", "/admin/status"))[0] == 401
    assert wrong in json.loads((tmp_path / SYSTEM_FILE).read_text())["tokens"]


async def test_a_change_finds_its_entry_by_what_it_is(start_app: StartApp, tmp_path: Path) -> None:
    first = {**entry("ana", ANA, "operate"), "sha256": sha256(ANA.encode()).hexdigest().upper()}
    configure(tmp_path, first, entry(" bob ", BOB, "operate"))
    app = await start_app()
    await until_status(app, BOB, 200)
    await ask(app, "PUT", "/admin/tokens/bob", body={"scope": "read"})
    assert (await status_of(app, BOB, "POST", "/admin/engine/pause"))[0] == 403
    assert (await status_of(app, ANA, "POST", "/admin/engine/pause"))[0] == 200
    await ask(app, "DELETE", "/admin/tokens/ana")
    (left,) = json.loads((tmp_path / SYSTEM_FILE).read_text())["tokens"]
    assert (left["name"], left["scope"]) == (" bob ", "read")


async def test_a_token_is_removed_while_the_file_is_wrong_elsewhere(
    start_app: StartApp, tmp_path: Path
) -> None:
    configure(tmp_path, entry("ana", ANA, "operate"), entry("bob", BOB, "operate"))
    apps = await start_app(), await start_app()
    cookie = await sign_in(apps[0], BOB)
    file = tmp_path / SYSTEM_FILE
    both = json.loads(file.read_text())
    file.write_text(json.dumps({**both, "retention_days": "many"}))
    for app in apps:
        await until(lambda app=app: app.context.config_problems)  # type: ignore[misc]
    await ask(apps[0], "DELETE", "/admin/tokens/nobody", 404)
    await ask(apps[0], "DELETE", "/admin/tokens/ana")  # by the page
    assert (await status_of(apps[0], ANA, "GET", "/admin/status"))[0] == 401
    await until_status(apps[1], ANA, 401)
    left = {"tokens": [entry("ana", ANA, "operate")], "retention_days": "many"}
    file.write_text(json.dumps(left))  # by an editor
    for app in apps:
        await until_status(app, BOB, 401)
        assert await opened(app, cookie) == 401
    log = (await ask(apps[0], "GET", "/admin/actions-log"))["actions"]
    assert [(each["action"], each["target"], each["result"] == "done") for each in log][:2] == [
        ("token.delete", "ana", True),
        ("token.delete", "nobody", False),
    ]
    file.write_text(json.dumps(both))  # the file is right again, and old
    for app in apps:
        await until(lambda app=app: not app.context.config_problems)  # type: ignore[misc]
        assert [(await status_of(app, each, "GET", "/admin/status"))[0] for each in (ANA, BOB)] == [401, 401]


@pytest.mark.parametrize("removed_by", ["page", "file", "file while it is stopped"])
async def test_no_old_file_restores_a_removed_token(
    start_app: StartApp, make_settings: Callable[..., Settings], tmp_path: Path, removed_by: str
) -> None:
    configure(tmp_path, entry("ana", ANA, "operate"), entry("bob", BOB, "read"))
    old = (tmp_path / SYSTEM_FILE).read_text()
    async with serve(make_settings()) as app:
        cookie = await sign_in(app, ANA)
        assert await opened(app, cookie) == 200
        if removed_by == "page":
            await ask(app, "DELETE", "/admin/tokens/ana")
        elif removed_by == "file":
            configure(tmp_path, entry("bob", BOB, "read"))
            await until_status(app, ANA, 401)
    if removed_by == "file while it is stopped":
        configure(tmp_path, entry("bob", BOB, "read"))
        async with serve(make_settings()) as app:
            await until_status(app, ANA, 401)
    (tmp_path / SYSTEM_FILE).write_text(old)
    app = await start_app()
    await until_status(app, BOB, 200)
    await until(lambda: len(app.context.config.tokens) == 2)
    assert (await status_of(app, ANA, "GET", "/admin/status"))[0] == 401
    assert await opened(app, cookie) == 401
    async with app.http.post(SIGN_IN, data={"token": ANA}, allow_redirects=False) as answer:
        assert answer.status == 401
    listed = (await ask(app, "GET", "/admin/tokens"))["tokens"]
    assert [(each["name"], each["is_revoked"]) for each in listed] == [
        *(("admin", False), ("ana", True), ("bob", False))
    ]
    page = (await status_of(app, ADMIN_TOKEN, "GET", "/admin/page/sources"))[1]
    assert "removed: refused, although its entry is in the file" in page


async def test_a_file_that_is_absent_or_broken_removes_no_token(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, entry("ana", ANA, "operate"))
    app = await start_app()
    await until_status(app, ANA, 200)
    file = tmp_path / SYSTEM_FILE
    right = file.read_text()
    for broken in (right[:-3], '{"tokens": "none"}'):
        file.write_text(broken)
        await until(lambda: app.context.config_problems)
        assert (await status_of(app, ANA, "GET", "/admin/status"))[0] == 200
        file.write_text(right)
        await until(lambda: not app.context.config_problems)
    file.unlink()
    await until_status(app, ANA, 401)
    file.write_text(right)
    await until_status(app, ANA, 200)


async def test_what_a_reader_tried_is_in_the_actions_log(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, entry("bob", BOB, "read"))
    app = await start_app()
    await until_status(app, BOB, 200)
    for _ in range(REFUSALS_A_MINUTE + 5):
        assert (await status_of(app, BOB, "POST", "/admin/order/sell-all"))[0] == 403
    log = (await ask(app, "GET", "/admin/actions-log", action="token.refuse", limit=500))["actions"]
    assert len(log) == REFUSALS_A_MINUTE
    assert {(each["actor"], each["session"], each["target"], each["result"]) for each in log} == {
        ("bob", "token", "POST /admin/order/sell-all", "refused: the token 'bob' may only read")
    }
    async with app.context.pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE actions")
        assert (await status_of(app, BOB, "POST", "/admin/engine/pause"))[0] == 403


async def test_a_smaller_scope_counts_at_once_and_ends_sessions(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, entry("ana", ANA, "operate"))
    apps = await start_app(), await start_app()
    cookie = await sign_in(apps[0], ANA)
    socket = await apps[1].http.ws_connect(
        "/ws/admin-updates", headers={"Cookie": f"{COOKIE}={cookie}"}, origin=apps[1].url
    )
    await ask(apps[0], "PUT", "/admin/tokens/ana", body={"scope": "read"})
    assert (await status_of(apps[0], ANA, "POST", "/admin/engine/pause"))[0] == 403
    assert await opened(apps[0], cookie) == 401
    async with asyncio.timeout(SECONDS):
        while (await socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
            pass
    async with asyncio.timeout(SECONDS):
        while True:
            if await opened(apps[1], cookie) == 401:
                break
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("token", ["tökén", "日本語のトークン", "\N{GRINNING FACE}", "\x80", "a b", ""])
async def test_a_wrong_token_of_any_characters_is_answered_401(start_app: StartApp, token: str) -> None:
    app = await start_app()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(app.url.rpartition(":")[2]))
    for raw in {token.encode(), token.encode("latin-1", "replace")}:
        head = b"GET /admin/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + raw
        writer.write(head + b"\r\nConnection: keep-alive\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        await reader.readexactly(length)
    writer.close()
    async with app.http.post(SIGN_IN, data={"token": token}, allow_redirects=False) as answer:
        assert answer.status == 401


async def test_a_named_token_of_any_characters_is_accepted(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, entry("ana", "tökén-of-ana", "read"))
    app = await start_app()
    headers = {"Authorization": "Bearer " + "tökén-of-ana"}
    async with app.http.get("/admin/status", headers=headers) as answer:
        assert answer.status == 200
    await sign_in(app, "tökén-of-ana")


async def test_no_post_waits_for_a_table_of_tokens(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, entry("ana", ANA, "operate"))
    app = await start_app()
    async with app.context.pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE revoked_tokens, ended_sessions, actions")
        async with (
            asyncio.timeout(20),
            app.http.post("/webhook/in", json={"ticker": "AAPL", "side": "sell"}) as answer,
        ):
            assert answer.status == 202
        assert (await status_of(app, ADMIN_TOKEN, "GET", "/admin/tokens"))[0] == 200


async def test_the_actions_log_has_its_new_column_last(start_app: StartApp, tmp_path: Path) -> None:
    configure(tmp_path, entry("ana", ANA, "operate"))
    app = await start_app()
    assert (await status_of(app, ANA, "POST", "/admin/engine/pause"))[0] == 200
    text = (await status_of(app, ADMIN_TOKEN, "GET", "/admin/actions-log/export"))[1]
    header, newest = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))[:2]
    columns = "id", "at", "session", "origin", "action", "target", "before", "after", "result", "actor"
    assert tuple(header) == columns
    assert dict(zip(header, newest, strict=True))["actor"] == "ana"
