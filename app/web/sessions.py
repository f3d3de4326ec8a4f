"""Sessions: the signed cookie that stands for the token, and those that were ended by signing out.

Nothing but its age ends a signed cookie. A session that was signed out of is stored until then: it is ended
in this process at once, in the others within a second.
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
from app.db.queries import load
from app.errors import describe

log = structlog.get_logger(__name__)

_SQL = load("app.web")
_LOOK_EVERY_SECONDS = 1.0
_PURGE_EVERY_TURNS = 600
_ANSWER_SECONDS = 2.0

COOKIE = "tsp_session"
LIFETIME_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Access:
    """A visitor who proved to know the token; both are None for a bearer token, which never ends."""

    session: str | None = None
    seconds_left: float | None = None


class Sessions:
    """Issues and reads session cookies, signed with a key derived from ADMIN_TOKEN.

    Nothing is stored: a session survives a restart, and ends after 12 hours or with a new token.
    """

    def __init__(self, admin_token: str) -> None:
        self._token = admin_token.encode()
        self._serializer = URLSafeTimedSerializer(
            self._token,
            salt="admin session",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    @property
    def possible(self) -> bool:
        """False while ADMIN_TOKEN is empty: then nobody gets in, whatever they offer."""
        return bool(self._token)

    def token_matches(self, offered: str) -> bool:
        """Compare in constant time."""
        return self.possible and hmac.compare_digest(offered.encode(), self._token)

    def issue(self) -> str:
        """Return the cookie value of a new session."""
        return self._serializer.dumps(secrets.token_urlsafe(9))

    def read(self, cookie: str) -> Access | None:
        """Return whose session it is, or None: forged, too old, or of another token."""
        if not self.possible:
            return None
        try:
            session, issued = self._serializer.loads(cookie, max_age=LIFETIME_SECONDS, return_timestamp=True)
        except BadSignature:
            return None
        return Access(str(session), LIFETIME_SECONDS - (datetime.now(UTC) - issued).total_seconds())


class EndedSessions:
    """What every request with a session cookie, and every open line of one, is checked against."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._stored: frozenset[str] | None = None
        self._unstored: set[str] = set()
        self._lines: dict[str, set[asyncio.Event]] = {}

    async def is_known(self) -> bool:
        """Whether it can be said which sessions have ended; asks the database if it never answered.

        Fails closed: until then no session is believed, for it may have been signed out of.
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
        """End a session: its cookie and its open lines. Stored now, or as soon as the database answers."""
        self._unstored.add(session)
        self._close_lines()
        try:
            await self.refresh()
        except (*TRANSIENT_DB_ERRORS, asyncpg.PostgresError) as error:
            log.warning("a sign-out is not stored yet; it is kept in memory", error=describe(error))

    @asynccontextmanager
    async def line_of(self, session: str | None) -> AsyncIterator[asyncio.Event]:
        """Give a line of the session an event that is set when the session is ended; None is a token's."""
        ended = asyncio.Event()
        if session is None:
            yield ended
            return
        self._lines.setdefault(session, set()).add(ended)
        self._close_lines()
        try:
            yield ended
        finally:
            self._lines[session].discard(ended)
            if not self._lines[session]:
                del self._lines[session]

    async def refresh(self) -> None:
        """Store what is not stored, and learn what ended in other processes."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            if storing := list(self._unstored):
                await self._pool.execute(_SQL["end"], storing, float(LIFETIME_SECONDS))
            rows = await self._pool.fetch(_SQL["ended"])
        self._stored = frozenset(row["session"] for row in rows)
        self._unstored.difference_update(storing)
        self._close_lines()

    async def purge(self) -> None:
        """Remove the sessions whose cookies have expired."""
        await self._pool.execute(_SQL["purge"])

    def _close_lines(self) -> None:
        for session, events in self._lines.items():
            if session in self:
                for event in events:
                    event.set()


async def run(sessions: EndedSessions, beat: Callable[[], None]) -> None:
    """Learn once a second which sessions ended in other processes."""
    turn = 0
    while True:
        beat()
        await sessions.refresh()
        if turn % _PURGE_EVERY_TURNS == 0:
            await sessions.purge()
        turn += 1
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
