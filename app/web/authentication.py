"""Authentication of every request, before routing and any validation: the token, or a session's cookie.

The signed cookie replaces the token and is valid until it expires. A session that was signed out of is stored
until then: it ends in this process at once, in other processes within a second.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlsplit

import asyncpg
import structlog
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.audit import repository as audit_log
from app.audit.repository import Actor
from app.config.access import FIRST_OPERATOR, AccessToken
from app.context import AppContext
from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Pool
from app.errors import describe
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.web import repository
from app.web.problems import unavailable
from app.web.reasons import render
from app.web.texts import text
from app.web.throttle import ScopeRefusals, WrongAttempts

if TYPE_CHECKING:
    from app.runtime.denials import Kind

log = structlog.get_logger(__name__)

_POLL_SECONDS = 1.0
_DELETE_EVERY_POLLS = 600
_ANSWER_SECONDS = 2.0

COOKIE = "tsp_session"
LIFETIME_SECONDS = 12 * 3600
ADMIN = AccessToken(name=FIRST_OPERATOR, sha256="", scope="operate")  # the holder of ADMIN_TOKEN

SIGN_IN, SIGN_OUT = "/admin/sign-in", "/admin/sign-out"
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
    """An authenticated client, and the token that it has, or had when it signed in.

    `session` and `seconds_left` are None for a bearer token, which does not expire.
    """

    token: AccessToken
    session: str | None = None
    seconds_left: float | None = None

    @property
    def may_operate(self) -> bool:
        """Whether it may change anything."""
        return self.token.scope == "operate"


@lru_cache(maxsize=4)
def signing_key(admin_token: str) -> bytes:
    """Return the key that signs cookies. It takes 50 ms, once for each process and token.

    By scrypt: with a cookie at hand, each guess of ADMIN_TOKEN takes as long.
    """
    return hashlib.scrypt(admin_token.encode(), salt=b"trading-signal-processor session", n=2**14, r=8, p=1)


class Sessions:
    """Finds the holder of a token; issues and reads session cookies, signed with a key from ADMIN_TOKEN.

    No session is stored. It outlasts a restart, and ends after 12 hours, when ADMIN_TOKEN changes, or when
    its named token is removed or replaced, or gets another scope.
    """

    def __init__(self, admin_token: str, tokens: Sequence[AccessToken] = ()) -> None:
        self._token = admin_token.encode()
        self._key = signing_key(admin_token) if admin_token else b""
        self._tokens = tokens
        self._serializer = self._signed("admin session")
        # of another salt, so that a version that does not know names accepts none of them
        self._named = self._signed("named session")

    def _signed(self, salt: str) -> URLSafeTimedSerializer:
        options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeTimedSerializer(self._key, salt=salt, signer_kwargs=options)

    @property
    def is_possible(self) -> bool:
        """Return False while ADMIN_TOKEN is empty. Fails closed: then no token and no cookie is accepted."""
        return bool(self._token)

    def holder_of(self, offered: str) -> AccessToken | None:
        """Return whose token is offered; compares with all of them, in constant time."""
        if not offered or not self.is_possible:
            return None
        text = offered.encode("utf-8", "surrogatepass")  # a form may have half of a surrogate pair
        digest = hashlib.sha256(text).hexdigest()
        found = ADMIN if hmac.compare_digest(text, self._token) else None
        for token in self._tokens:
            if hmac.compare_digest(digest, token.sha256) and found is None:
                found = token
        return found

    def issue(self, holder: AccessToken | None = None) -> str:
        """Return the cookie value of a new session, of ADMIN_TOKEN or of a named token."""
        session = secrets.token_urlsafe(9)
        if holder is None or holder == ADMIN:
            return self._serializer.dumps(session)
        return self._named.dumps([session, holder.name, self._mark_of(holder)])

    def read(self, cookie: str) -> Access | None:
        """Return the session of a cookie; None if it is forged or expired, or its token was removed."""
        if not self.is_possible:
            return None
        for serializer in (self._serializer, self._named):
            try:
                content, issued = serializer.loads(cookie, max_age=LIFETIME_SECONDS, return_timestamp=True)
            except BadSignature:
                continue
            seconds_left = LIFETIME_SECONDS - (datetime.now(UTC) - issued).total_seconds()
            if serializer is self._serializer:
                return Access(ADMIN, str(content), seconds_left)
            session, name, mark = content
            for token in self._tokens:
                if token.name == name and hmac.compare_digest(mark, self._mark_of(token)):
                    return Access(token, session, seconds_left)
        return None

    def _mark_of(self, token: AccessToken) -> str:
        """Return what distinguishes a token from others of its name, and from itself with another scope."""
        return hmac.new(self._key, f"{token.scope} {token.sha256}".encode(), hashlib.sha256).hexdigest()


class EndedSessions:
    """The sessions that were ended, and the named tokens that were revoked.

    Every request with a session cookie or a named token, and every WebSocket, is checked.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._stored: frozenset[str] | None = None
        self._revoked = frozenset[str]()
        self._unstored: set[str] = set()
        self._sockets: dict[str, set[asyncio.Event]] = {}
        self._reads, self._newest_read = 0, 0  # numbers of reads, in the order in which they began

    async def is_known(self) -> bool:
        """Return whether ended sessions and revoked tokens were read since the start; read them if not.

        Fails closed: until then no session and no named token is accepted. ADMIN_TOKEN itself is.
        """
        if self._stored is None:
            try:
                await self.refresh()
            except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
                log.warning("sessions cannot be checked", error=describe(error))
        return self._stored is not None

    def __contains__(self, session: str) -> bool:
        return session in self._unstored or session in (self._stored or ())

    def has_ended(self, access: Access) -> bool:
        """Return whether the session was ended, or its token revoked."""
        return (access.session is not None and access.session in self) or self.is_revoked(access.token)

    def is_revoked(self, token: AccessToken) -> bool:
        """Return whether a named token was removed, whatever the file says."""
        return token.sha256 in self._revoked

    async def see_revoked(self) -> None:
        """Read at once which tokens are revoked, or, if the database is unavailable, within a second."""
        try:
            await self.refresh()
        except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
            log.warning("revoked tokens cannot be read", error=describe(error))

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
            stored, revoked = await repository.read_ended(self._pool)
        if read > self._newest_read:
            self._newest_read, self._stored, self._revoked = read, stored, revoked
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
        self.refusals = ScopeRefusals()

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
        context: AppContext = connection.app.state.context
        ended: EndedSessions = connection.app.state.ended_sessions
        sessions = sessions_of(context)
        scheme, _, offered = connection.headers.get("authorization", "").partition(" ")
        bearer = scheme.lower() == "bearer"
        if bearer:
            holder = sessions.holder_of(_as_sent(offered.strip()))
            access = None if holder is None else Access(holder)
        else:
            access = sessions.read(cookie_parser(connection.headers.get("cookie", "")).get(COOKIE, ""))
        if access is not None and (access.session is not None or access.token != ADMIN):
            if not await ended.is_known():
                return unavailable(connection, text("problem.database_away"))
            access = None if ended.has_ended(access) else access
        if bearer:
            await self._note_attempt(access, connection)
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
        is_change = connection.scope["type"] == "http" and connection.scope["method"] not in _SAFE_METHODS
        if is_change and not access.may_operate and connection.scope["path"] != SIGN_OUT:
            refusal = Reason(RefusalCode.MAY_ONLY_READ, name=repr(access.token.name))
            await self._record_refused(access, refusal, connection)
            return JSONResponse({"detail": render(refusal)}, 403)
        return access

    async def _note_attempt(self, access: Access | None, connection: HTTPConnection) -> None:
        """Count and delay a wrong token. Only ADMIN_TOKEN clears an address: a reader could guess it."""
        address = client_address(connection)
        if access is not None:
            if access.token == ADMIN:
                self.attempts.forget(address)
            return
        kind: Kind = "websocket" if connection.scope["type"] == "websocket" else "admin_token"
        connection.app.state.context.denials.count(kind, address)
        await asyncio.sleep(self.attempts.record(address))

    async def _record_refused(self, access: Access, refusal: Reason, connection: HTTPConnection) -> None:
        """Record in the actions log what a token that may only read tried; 20 entries a minute for each.

        Fails closed: the request is refused also where the log cannot be written.
        """
        tried, name = f"{connection.scope['method']} {connection.scope['path']}", access.token.name
        if not self.refusals.admits(name):
            return
        actor = Actor(access.session or "token", client_address(connection), name)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await audit_log.record(
                    connection.app.state.context.pool, actor, "token.refuse", target=tried, refusal=refusal
                )
        except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
            log.warning("a refused request is not recorded", token=name, error=describe(error))


def _as_sent(header: str) -> str:
    """Return the text of a header in UTF-8; the server decodes each byte as a character of its own."""
    return header.encode("latin-1", "replace").decode("utf-8", "replace")


def sessions_of(context: AppContext) -> Sessions:
    """Return the sessions of the current tokens."""
    return Sessions(context.settings.admin_token, context.config.tokens)


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
