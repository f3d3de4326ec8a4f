"""Authentication of every request, before routing and any validation: the token, or a session's cookie.

The signed cookie replaces the token and is valid until it expires. A session that was signed out of is stored
until then: it ends in this process at once, in other processes within a second.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit

import asyncpg
import structlog
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Pool
from app.errors import describe
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.web import repository
from app.web.problems import unavailable
from app.web.reasons import render
from app.web.texts import text
from app.web.throttle import WrongAttempts

if TYPE_CHECKING:
    from app.runtime.denials import Kind

log = structlog.get_logger(__name__)

_POLL_SECONDS = 1.0
_DELETE_EVERY_POLLS = 600
_ANSWER_SECONDS = 2.0

COOKIE = "tsp_session"
LIFETIME_SECONDS = 12 * 3600

SIGN_IN = "/admin/sign-in"
PREFERENCES = "/admin/preferences"  # the sign-in page has the choice of language and theme, too
_PUBLIC = frozenset(
    {"/health", "/health/detailed", "/docs", "/openapi.json", "/webhook/in", SIGN_IN, PREFERENCES}
)
_PUBLIC_BELOW = ("/webhook/in/", "/static/")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


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


@dataclass(frozen=True, slots=True)
class Access:
    """An authenticated client. Both are None for a bearer token, which does not expire."""

    session: str | None = None
    seconds_left: float | None = None


class Sessions:
    """Issues and reads session cookies, signed with a key derived from ADMIN_TOKEN.

    No session is stored. It outlasts a restart, and ends after 12 hours or when the token changes.
    """

    def __init__(self, admin_token: str) -> None:
        self._token = admin_token.encode()
        self._serializer = URLSafeTimedSerializer(
            self._token,
            salt="admin session",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    @property
    def is_possible(self) -> bool:
        """Return False while ADMIN_TOKEN is empty. Fails closed: then no token and no cookie is accepted."""
        return bool(self._token)

    def token_matches(self, offered: str) -> bool:
        """Return whether the offered token is ADMIN_TOKEN; compares in constant time."""
        return self.is_possible and hmac.compare_digest(offered.encode(), self._token)

    def issue(self) -> str:
        """Return the cookie value of a new session."""
        return self._serializer.dumps(secrets.token_urlsafe(9))

    def read(self, cookie: str) -> Access | None:
        """Return the session of a cookie; None if it is forged, expired, or signed with another token."""
        if not self.is_possible:
            return None
        try:
            session, issued = self._serializer.loads(cookie, max_age=LIFETIME_SECONDS, return_timestamp=True)
        except BadSignature:
            return None
        return Access(str(session), LIFETIME_SECONDS - (datetime.now(UTC) - issued).total_seconds())


class EndedSessions:
    """The sessions that were ended. Every request with a session cookie, and every WebSocket, is checked."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._stored: frozenset[str] | None = None
        self._unstored: set[str] = set()
        self._sockets: dict[str, set[asyncio.Event]] = {}
        self._reads, self._newest_read = 0, 0  # numbers of reads, in the order in which they began

    async def is_known(self) -> bool:
        """Return whether the ended sessions were read since the start; read them if not.

        Fails closed: until then no session is accepted, because it may have been signed out of.
        """
        if self._stored is None:
            try:
                await self.refresh()
            except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
                log.warning("sessions cannot be checked", error=describe(error))
        return self._stored is not None

    def __contains__(self, session: str) -> bool:
        return session in self._unstored or session in (self._stored or ())

    async def end(self, session: str) -> None:
        """End a session: its cookie and its WebSockets. Stored now, or once the database is available."""
        self._unstored.add(session)
        self._close_sockets()
        try:
            await self.refresh()
        except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
            log.warning("a sign-out is not stored yet; it is kept in memory", error=describe(error))

    @asynccontextmanager
    async def end_event_of(self, session: str | None) -> AsyncIterator[asyncio.Event]:
        """Return, for one WebSocket, an event that is set when its session ends; None is a bearer token."""
        ended = asyncio.Event()
        if session is None:
            yield ended
            return
        self._sockets.setdefault(session, set()).add(ended)
        self._close_sockets()
        try:
            yield ended
        finally:
            self._sockets[session].discard(ended)
            if not self._sockets[session]:
                del self._sockets[session]

    async def refresh(self) -> None:
        """Store what is not stored yet, and read what ended in other processes.

        Fails closed: an answer that comes after the answer of a newer read is dropped. A session that was
        signed out of stays ended in memory until an answer contains it.
        """
        async with asyncio.timeout(_ANSWER_SECONDS):
            if storing := list(self._unstored):
                await repository.end_sessions(self._pool, sessions=storing, kept_seconds=LIFETIME_SECONDS)
            self._reads += 1
            read = self._reads
            stored = await repository.ended_sessions(self._pool)
        if read > self._newest_read:
            self._newest_read, self._stored = read, stored
            self._unstored -= stored
        self._close_sockets()

    async def delete_expired(self) -> None:
        """Delete the ended sessions whose cookies have expired."""
        await repository.delete_expired_sessions(self._pool)

    def _close_sockets(self) -> None:
        for session, events in self._sockets.items():
            if session in self:
                for event in events:
                    event.set()


async def run_sessions(sessions: EndedSessions, beat: Callable[[], None]) -> None:
    """Read once a second which sessions ended in other processes. `beat` is the heartbeat."""
    polls = 0
    while True:
        beat()
        await sessions.refresh()
        if polls % _DELETE_EVERY_POLLS == 0:
            await sessions.delete_expired()
        polls += 1
        await asyncio.sleep(_POLL_SECONDS)


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
            return _unauthorized(
                RefusalCode.WRONG_TOKEN if sessions.is_possible else RefusalCode.NO_TOKEN_SET
            )
        if access is None:
            code = RefusalCode.NEEDS_TOKEN if sessions.is_possible else RefusalCode.NO_TOKEN_SET
            return _ask_to_sign_in(connection, code)
        changes = connection.scope["type"] == "websocket" or connection.scope["method"] not in _SAFE_METHODS
        if changes and is_foreign(connection.headers, required=not bearer):
            return foreign()
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


def foreign() -> Response:
    """Answer 403: the request comes from a page of another origin."""
    return JSONResponse({"detail": render(Reason(RefusalCode.FOREIGN))}, 403)


def _unauthorized(code: RefusalCode) -> Response:
    return JSONResponse({"detail": render(Reason(code))}, 401, headers={"WWW-Authenticate": "Bearer"})


def _ask_to_sign_in(connection: HTTPConnection, code: RefusalCode) -> Response:
    """Redirect a person who follows a link to the sign-in page; answer 401 to a program."""
    wants_page = "text/html" in connection.headers.get("accept", "")
    if connection.scope["type"] == "http" and connection.scope["method"] == "GET" and wants_page:
        # Not from `connection.url`: it is built from the Host header, which may not be a valid host.
        query = connection.scope["query_string"].decode("latin-1")
        target = connection.scope["path"] + (f"?{query}" if query else "")
        return RedirectResponse(f"{SIGN_IN}?next={quote(target, safe='')}", 303)
    return _unauthorized(code)


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the response, to a WebSocket during its handshake. A server that cannot do so sends a bare 403."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": "see /admin/sign-in"})
        return
    await response(scope, receive, send)
