"""Nothing can be read or changed without the token."""

from __future__ import annotations

import asyncio
import time
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from itsdangerous import TimestampSigner
from yarl import URL

from app.web.authentication import COOKIE, LIFETIME_SECONDS, Sessions
from tests.api.conftest import ADMIN_TOKEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.api.conftest import AppServer

BEARER = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
PROTECTED = [
    "/",
    "/admin",
    "/admin/status",
    "/admin/signals",
    "/admin/signals?limit=not-a-number",
    "/admin/signals/not-an-id",
    "/admin/top-n-tickers",
    "/admin/page/signals",
    "/admin/no-such-route",
    "/ws/admin-updates",
    "/no-such-route",
]


async def sign_in(app: AppServer, token: str = ADMIN_TOKEN, **headers: str) -> aiohttp.ClientResponse:
    """Post the form as a browser does."""
    form = {"token": token, "next": "/admin?status=failed"}
    origin = {"Origin": app.url, **headers}
    async with app.http.post("/admin/sign-in", data=form, headers=origin, allow_redirects=False) as response:
        await response.read()
    return response


def cookie_of(response: aiohttp.ClientResponse) -> str:
    """The session cookie, to be sent by hand: aiohttp's jar keeps none for an address without a name."""
    (morsel,) = SimpleCookie(response.headers["Set-Cookie"]).values()
    return f"{morsel.key}={morsel.value}"


@pytest.mark.parametrize("path", PROTECTED)
async def test_without_the_token_every_answer_is_401(app_server: AppServer, path: str) -> None:
    for headers in ({}, {"Cookie": "tsp_session=forged"}, {"Authorization": "Basic YTpi"}):
        async with app_server.http.get(path, headers=headers, allow_redirects=False) as response:
            assert response.status == 401
            assert (await response.json()).keys() == {"detail"}


async def test_no_path_traversal_leaves_the_static_folder(app_server: AppServer) -> None:
    for path in ("/static/../admin/status", "/static/%2e%2e/templates/admin.html", "/static/..%2fapi.py"):
        async with app_server.http.get(
            URL(app_server.url + path, encoded=True), allow_redirects=False
        ) as response:
            assert response.status in {401, 404}


async def test_public_routes(app_server: AppServer) -> None:
    for path in ("/docs", "/openapi.json", "/admin/sign-in", "/static/page/base.css"):
        async with app_server.http.get(path, headers={"Accept": "text/html"}) as response:
            assert response.status == 200, path


async def test_a_browser_is_redirected_to_the_form_and_back(app_server: AppServer) -> None:
    async with app_server.http.get(
        "/admin?status=failed", headers={"Accept": "text/html"}, allow_redirects=False
    ) as response:
        assert response.status == 303
        assert response.headers["Location"] == "/admin/sign-in?next=%2Fadmin%3Fstatus%3Dfailed"
    response = await sign_in(app_server)
    assert response.status == 303
    assert response.headers["Location"] == "/admin?status=failed"


async def test_the_cookie_authenticates_and_is_http_only(app_server: AppServer) -> None:
    response = await sign_in(app_server)
    assert (
        response.headers["Set-Cookie"].lower().endswith("; httponly; max-age=43200; path=/; samesite=strict")
    )
    async with app_server.http.get("/admin", headers={"Cookie": cookie_of(response)}) as page:
        assert page.status == 200
        assert page.headers["Cache-Control"] == "no-store"


async def test_behind_tls_the_cookie_is_secure(app_server: AppServer) -> None:
    response = await sign_in(app_server, **{"X-Forwarded-Proto": "https"})
    assert "secure" in response.headers["Set-Cookie"].lower()


async def test_a_language_or_theme_is_stored_in_a_cookie_and_redirects_back(app_server: AppServer) -> None:
    async with app_server.http.post(
        "/admin/preferences",
        data={"language": "pt-BR", "theme": "pink", "next": "nothing"},
        headers={"Referer": f"{app_server.url}/admin/page/signals?status=failed"},
        allow_redirects=False,
    ) as response:
        assert response.status == 303
        assert response.headers["Location"] == "/admin/page/signals?status=failed"
        assert response.cookies.keys() == {"language"}  # no such theme
        kept = response.cookies["language"]
        assert (kept.value, kept["httponly"], kept["samesite"]) == ("pt-BR", True, "strict")
    async with app_server.http.get("/admin/sign-in", headers={"Cookie": "language=pt-BR"}) as response:
        assert "Token de administração" in await response.text()
    async with app_server.http.post(
        "/admin/preferences",
        data={"language": "en"},
        headers={"Referer": "https://elsewhere.example//evil.example/"},
        allow_redirects=False,
    ) as response:
        assert response.headers["Location"] == "/admin"
    async with app_server.http.post(
        "/admin/preferences", data={"theme": "dark"}, headers={"Origin": "https://elsewhere.example"}
    ) as response:
        assert response.status == 403


async def test_a_session_survives_a_restart_and_ends_with_a_new_token(
    start_app: Callable[..., Awaitable[AppServer]],
) -> None:
    cookie = {"Cookie": cookie_of(await sign_in(await start_app()))}
    again, renewed = await start_app(), await start_app(admin_token="another")
    async with again.http.get("/admin/status", headers=cookie) as response:
        assert response.status == 200
    async with renewed.http.get("/admin/status", headers=cookie) as response:
        assert response.status == 401


async def test_signing_out_deletes_the_cookie(app_server: AppServer) -> None:
    headers = {"Cookie": cookie_of(await sign_in(app_server)), "Origin": app_server.url}
    async with app_server.http.post("/admin/sign-out", headers=headers, allow_redirects=False) as response:
        assert response.status == 303
        assert 'tsp_session="";' in response.headers["Set-Cookie"]
        assert "Max-Age=0" in response.headers["Set-Cookie"]


async def test_a_wrong_token_is_delayed_and_delays_no_other_request(app_server: AppServer) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(3):
        assert (await sign_in(app_server, "wrong")).status == 401
    started = loop.time()
    wrong = asyncio.create_task(sign_in(app_server, "wrong"))
    async with app_server.http.get("/admin/status", headers=BEARER) as response:
        assert response.status == 200
        assert not wrong.done()
    refused = await wrong
    assert refused.status == 401
    assert loop.time() - started >= 0.25
    assert "Set-Cookie" not in refused.headers


async def test_a_wrong_bearer_token_is_delayed_too(app_server: AppServer) -> None:
    started = asyncio.get_running_loop().time()
    async with app_server.http.get("/admin/status", headers={"Authorization": "Bearer wrong"}) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert asyncio.get_running_loop().time() - started >= 0.25


async def test_another_origin_changes_nothing(app_server: AppServer) -> None:
    evil = "https://evil.example"
    cookie = cookie_of(await sign_in(app_server))
    assert (await sign_in(app_server, Origin=evil)).status == 403
    attempts: list[dict[str, str]] = [
        {"Cookie": cookie, "Origin": evil},
        {"Cookie": cookie, "Origin": "null"},
        {"Cookie": cookie},
        {**BEARER, "Origin": evil},
    ]
    for headers in attempts:
        async with app_server.http.post(
            "/admin/sign-out", headers=headers, allow_redirects=False
        ) as response:
            assert response.status == 403, headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({**BEARER, "Origin": "https://evil.example"}, 403),
    ],
)
async def test_the_websocket_needs_authentication(
    app_server: AppServer, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await app_server.http.ws_connect("/ws/admin-updates", headers=headers)
    assert refused.value.status == status


async def test_a_session_does_not_open_the_websocket_for_another_origin(app_server: AppServer) -> None:
    cookie = {"Cookie": cookie_of(await sign_in(app_server))}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await app_server.http.ws_connect("/ws/admin-updates", headers=cookie)
    assert refused.value.status == 403
    async with app_server.http.ws_connect("/ws/admin-updates", headers=cookie, origin=app_server.url) as line:
        assert (await line.receive_json(timeout=5))["type"] == "snapshot"


async def test_the_websocket_closes_with_the_session(
    app_server: AppServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as clock:
        clock.setattr(TimestampSigner, "get_timestamp", lambda _: int(time.time()) - LIFETIME_SECONDS + 2)
        cookie = {"Cookie": f"{COOKIE}={Sessions(ADMIN_TOKEN).issue()}"}
    async with (
        app_server.http.ws_connect("/ws/admin-updates", headers=cookie, origin=app_server.url) as line,
        asyncio.timeout(10),
    ):
        while (message := await line.receive()).type is not aiohttp.WSMsgType.CLOSE:
            pass
    assert message.data == 1008


async def test_an_empty_token_refuses_every_request_with_the_reason(
    start_app: Callable[..., Awaitable[AppServer]],
) -> None:
    app = await start_app(admin_token="")
    async with app.http.get("/admin/sign-in") as form:
        assert "ADMIN_TOKEN is empty" in await form.text()
    assert (await sign_in(app, "")).status == 401
    for headers in ({}, {"Authorization": "Bearer "}):
        async with app.http.get("/admin/status", headers=headers) as response:
            assert response.status == 401
            assert "ADMIN_TOKEN is empty" in (await response.json())["detail"]


async def test_a_form_of_any_size_or_kind_gets_an_answer(app_server: AppServer) -> None:
    bodies: list[Any] = [b"", b"\xff\xfe", b"token=" + b"x" * 100_000, b"token=%00"]
    for body in bodies:
        async with app_server.http.post("/admin/sign-in", data=body) as response:
            assert response.status == 401


@pytest.mark.parametrize("path", ["/admin/sign-in", "/admin/status", "/docs", "/static/icon.svg"])
async def test_every_answer_has_the_security_headers(app_server: AppServer, path: str) -> None:
    async with app_server.http.get(path) as response:
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert ("data:" in policy) == (path == "/docs")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"


async def test_the_font_is_kept_and_everything_else_of_the_page_revalidated(app_server: AppServer) -> None:
    font = "/static/vendor/@fontsource-variable/inter/files/inter-latin-wght-normal.woff2"
    for path, kept in ((font, "max-age=604800"), ("/static/page/icons.svg", "no-cache")):
        async with app_server.http.get(path) as response:
            assert response.status == 200
            assert response.headers["Cache-Control"] == kept
            assert response.headers["ETag"]
    async with app_server.http.get("/static/nothing.woff2") as response:
        assert (response.status, response.headers["Cache-Control"]) == (404, "no-cache")


async def test_without_a_database_every_answer_is_503_at_once(
    start_app: Callable[..., Awaitable[AppServer]],
) -> None:
    app = await start_app(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
    for path in ("/admin/status", "/admin/signals", "/admin/top-n-tickers"):
        async with app.http.get(path, headers=BEARER) as response:
            assert response.status == 503
            assert response.headers["Retry-After"]
            assert "database does not answer" in (await response.json())["detail"]
    cookie = cookie_of(await sign_in(app))
    async with app.http.get("/admin", headers={"Cookie": cookie, "Accept": "text/html"}) as page:
        assert page.status == 503
        assert "database does not answer" in await page.text()
    async with app.http.ws_connect("/ws/admin-updates", headers=BEARER) as line:
        assert (await line.receive(timeout=5)).data == 1013
