"""Sessions that were ended by signing out: in this process at once, in the others within a second.

A session is a signed cookie, which nothing but its age ends. What was signed out of is stored until then.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import structlog

from app.admin.session import LIFETIME_SECONDS
from app.db.away import DATABASE_AWAY
from app.db.pool import Pool
from app.db.queries import load
from app.failures import describe
from app.runtime import Runtime

log = structlog.get_logger(__name__)

_SQL = load("sessions")
_LOOK_EVERY_SECONDS = 1.0
_PURGE_EVERY_TURNS = 600
_ANSWER_SECONDS = 2.0


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
            except (*DATABASE_AWAY, asyncpg.PostgresError) as error:
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
        except (*DATABASE_AWAY, asyncpg.PostgresError) as error:
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


async def run(runtime: Runtime, sessions: EndedSessions, name: str) -> None:
    """Look once a second what ended elsewhere."""
    turn = 0
    while True:
        runtime.supervisor.beat(name)
        await sessions.refresh()
        if turn % _PURGE_EVERY_TURNS == 0:
            await sessions.purge()
        turn += 1
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
