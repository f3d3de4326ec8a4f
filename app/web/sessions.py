"""Sessions: the signed cookie that replaces the token, and the sessions that were ended by signing out.

A signed cookie is valid until it expires. A session that was signed out of is stored until then: it ends in
this process at once, in other processes within a second.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import structlog
from itsdangerous import BadSignature, URLSafeTimedSerializer

from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.pool import Pool
from app.errors import describe
from app.web import repository

log = structlog.get_logger(__name__)

_POLL_SECONDS = 1.0
_DELETE_EVERY_POLLS = 600
_ANSWER_SECONDS = 2.0

COOKIE = "tsp_session"
LIFETIME_SECONDS = 12 * 3600


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


async def run(sessions: EndedSessions, beat: Callable[[], None]) -> None:
    """Read once a second which sessions ended in other processes. `beat` is the heartbeat."""
    polls = 0
    while True:
        beat()
        await sessions.refresh()
        if polls % _DELETE_EVERY_POLLS == 0:
            await sessions.delete_expired()
        polls += 1
        await asyncio.sleep(_POLL_SECONDS)
