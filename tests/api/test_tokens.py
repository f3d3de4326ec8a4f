"""Named tokens: who acts, who may only read, and what ends with a token."""

from __future__ import annotations

import asyncio
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
from tests.api.operator import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from tests.api.conftest import AppServer

    StartApp = Callable[..., Awaitable[AppServer]]

ANA, BOB = "token-of-ana-123", "token-of-bob-456"
SECONDS = 30
EVERYTHING = """
    SELECT (SELECT count(*) FROM actions), (SELECT revision FROM configuration),
           (SELECT count(*) FROM signals), (SELECT count(*) FROM settled_alarms),
           (SELECT count(*) FROM notifications)
"""


def entry(name: str, token: str, scope: str) -> dict[str, str]:
    """A token as the file has it."""
    return {"name": name, "sha256": sha256(token.encode()).hexdigest(), "scope": scope}


def configure(folder: Path, *tokens: dict[str, str]) -> None:
    """Write the tokens into the operator's file."""
    (folder / SYSTEM_FILE).write_text(json.dumps({"tokens": tokens}))


async def status_of(app: AppServer, token: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Status and body of the answer to a request with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    async with app.http.request(method, path, json=body, headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def sign_in(app: AppServer, token: str) -> str:
    """The cookie of a new session."""
    form = {"token": token}
    async with app.http.post(SIGN_IN, data=form, allow_redirects=False) as answer:
        assert answer.status == 303
        return answer.cookies[COOKIE].value


async def opened(app: AppServer, cookie: str) -> int:
    """The status of the page's data for a session."""
    async with app.http.get("/admin/status", headers={"Cookie": f"{COOKIE}={cookie}"}) as answer:
        return answer.status


def walked(routes: Iterable[Any]) -> Iterator[Any]:
    """Every route, also of routers that are included."""
    for route in routes:
        if router := getattr(route, "original_router", None):
            yield from walked(router.routes)
        else:
            yield route


def operations(app: AppServer) -> set[tuple[str, str]]:
    """Method and path of every route behind the sign-in; names in paths are filled in."""
    found = set()
    for route in walked(app.app.routes):
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
