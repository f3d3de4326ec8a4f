"""Authentication of every request, before routing and before any validation. Pure ASGI."""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web.patterns import translate
from app.web.problems import unavailable
from app.web.sessions import COOKIE, Access, Sessions
from app.web.texts import text
from app.web.throttle import WrongAttempts

if TYPE_CHECKING:
    from app.runtime.denials import Kind
    from app.web.sessions import EndedSessions

SIGN_IN = "/admin/sign-in"
PREFERENCES = "/admin/preferences"  # the sign-in page has the choice of language and theme, too
_PUBLIC = frozenset(
    {"/health", "/health/detailed", "/docs", "/openapi.json", "/webhook/in", SIGN_IN, PREFERENCES}
)
_PUBLIC_BELOW = ("/webhook/in/", "/static/")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

NO_TOKEN_SET = "ADMIN_TOKEN is empty, so nobody can sign in: set it in .env and deploy again"  # noqa: S105  # a message
_NEEDED = (
    "this needs ADMIN_TOKEN: sign in at /admin, or send the header 'Authorization: Bearer <ADMIN_TOKEN>'"
)
_WRONG = "wrong token: ADMIN_TOKEN is in .env on the host"
FOREIGN = "refused: the request comes from a page of another origin"


def is_public(path: str) -> bool:
    """Return whether the path needs no token. Fails closed: all other paths need one, also unknown paths."""
    return path in _PUBLIC or path.startswith(_PUBLIC_BELOW)


def is_foreign(headers: Headers, *, required: bool) -> bool:
    """Return whether the request's Origin differs from the host it is sent to.

    `X-Forwarded-Host` counts as the host's name, too: a page of another site cannot set it.
    `required`: a missing Origin counts as foreign, because browsers send it wherever it matters.
    """
    origin = headers.get("origin")
    if origin is None:
        return required
    hosts = {headers.get("host", "").lower(), headers.get("x-forwarded-host", "").lower()} - {""}
    parts = address_parts(origin)
    return parts is None or parts.netloc.lower() not in hosts


def address_parts(address: str) -> SplitResult | None:
    """Return the parts of a URL in a header; None where it is not valid. Pure."""
    try:
        return urlsplit(address)
    except ValueError:  # such as "http://["
        return None


def client_address(connection: HTTPConnection) -> str:
    """Return the client's IP address, by which wrong attempts are counted."""
    return connection.client.host if connection.client else ""


class Authentication:
    """Let public paths and authenticated requests pass; answer others with 401, the sign-in page, or 403.

    Sets `scope["state"]["access"]` to the `Access` of an authenticated request.
    """

    def __init__(self, app: ASGIApp, attempts: WrongAttempts) -> None:
        self.app = app
        self.attempts = attempts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the inner application, or answer the request."""
        if scope["type"] == "lifespan" or is_public(scope["path"]):
            await self.app(scope, receive, send)
            return
        verdict = await self._authenticate(HTTPConnection(scope))
        if isinstance(verdict, Response):
            await _answer(verdict, scope, receive, send)
            return
        scope.setdefault("state", {})["access"] = verdict
        await self.app(scope, receive, send)

    async def _authenticate(self, connection: HTTPConnection) -> Access | Response:
        """Return the client's access, or the response that refuses the request."""
        sessions = Sessions(connection.app.state.context.settings.admin_token)
        scheme, _, offered = connection.headers.get("authorization", "").partition(" ")
        bearer = scheme.lower() == "bearer"
        if bearer:
            access = await self._check_token(sessions, offered.strip(), connection)
        else:
            access = sessions.read(cookie_parser(connection.headers.get("cookie", "")).get(COOKIE, ""))
        if access is not None and access.session is not None:
            ended: EndedSessions = connection.app.state.ended_sessions
            if not await ended.is_known():
                return unavailable(connection, text("problem.database_away"))
            access = None if access.session in ended else access
        if access is None and bearer:
            return _unauthorized(_WRONG if sessions.is_possible else NO_TOKEN_SET)
        if access is None:
            return _ask_to_sign_in(connection, _NEEDED if sessions.is_possible else NO_TOKEN_SET)
        changes = connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE_METHODS
        if changes and is_foreign(connection.headers, required=not bearer):
            return JSONResponse({"detail": translate(FOREIGN)}, 403)
        return access

    async def _check_token(
        self, sessions: Sessions, offered: str, connection: HTTPConnection
    ) -> Access | None:
        address = client_address(connection)
        if sessions.token_matches(offered):
            self.attempts.forget(address)
            return Access()
        kind: Kind = "websocket" if connection.scope["type"] == "websocket" else "admin_token"
        connection.app.state.context.denials.count(kind, address)
        await asyncio.sleep(self.attempts.record(address))
        return None


def _unauthorized(detail: str) -> Response:
    return JSONResponse({"detail": translate(detail)}, 401, headers={"WWW-Authenticate": "Bearer"})


def _ask_to_sign_in(connection: HTTPConnection, detail: str) -> Response:
    """Redirect a person who follows a link to the sign-in page; answer 401 to a program."""
    wants_page = "text/html" in connection.headers.get("accept", "")
    if connection.scope["type"] == "http" and connection.scope["method"] == "GET" and wants_page:
        # Not from `connection.url`: it is built from the Host header, which may not be a valid host.
        query = connection.scope["query_string"].decode("latin-1")
        target = connection.scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(target, safe='')}", 303)
    return _unauthorized(detail)


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the response, to a WebSocket during its handshake. A server that cannot do so sends a bare 403."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": "see /admin/sign-in"})
        return
    await response(scope, receive, send)
