"""A database server that answers but refuses the application's work: requests that need it get 503."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio
from yarl import URL

from tests.api.conftest import serve
from tests.api.operator import BEARER, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from app.settings import Settings
    from tests.api.conftest import AppServer

DEADLINE_SECONDS = 60
# What an administrator does to the database OURS or its role of the same name, and how it is undone.
STATES = {
    "closed": (
        ["ALTER DATABASE OURS ALLOW_CONNECTIONS false"],
        ["ALTER DATABASE OURS ALLOW_CONNECTIONS true"],
    ),
    "renamed": (
        ["ALTER DATABASE OURS ALLOW_CONNECTIONS false", "END", "ALTER DATABASE OURS RENAME TO OURS_away"],
        ["ALTER DATABASE OURS_away RENAME TO OURS", "ALTER DATABASE OURS ALLOW_CONNECTIONS true"],
    ),
    "locked out": (["ALTER ROLE OURS NOLOGIN"], ["ALTER ROLE OURS LOGIN"]),
    "read-only": (
        ["ALTER DATABASE OURS SET default_transaction_read_only = on"],
        ["ALTER DATABASE OURS RESET default_transaction_read_only"],
    ),
}
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'OURS'"


class Administrator:
    """Changes the test's database and role over a session of another database."""

    def __init__(self, server: asyncpg.Connection[asyncpg.Record], url: URL) -> None:
        self._server, self._name = server, url.path.removeprefix("/")
        self.role_url = str(url.with_user(self._name).with_password(self._name))

    async def run(self, *statements: str) -> None:
        """Execute statements about OURS; END cuts every session of its database."""
        for statement in statements:
            await self._server.execute(statement.replace("END", END_SESSIONS).replace("OURS", self._name))

    @asynccontextmanager
    async def state(self, name: str) -> AsyncIterator[None]:
        """Keep the database in a state, and let no session outlive the change, until the block ends."""
        enter, leave = STATES[name]
        try:
            await self.run(*enter, "END")
            yield
        finally:
            await self.run(*leave, "END")


@pytest_asyncio.fixture
async def administrator(database_url: str) -> AsyncIterator[Administrator]:
    """Yield an administrator of the test's database and of the role that the application gets."""
    url = URL(database_url)
    server = await asyncpg.connect(str(url.with_path("/postgres")))
    made = Administrator(server, url)
    await made.run("CREATE ROLE OURS SUPERUSER LOGIN PASSWORD 'OURS'")
    try:
        yield made
    finally:
        await made.run("DROP ROLE OURS")
        await server.close()


@pytest_asyncio.fixture
async def app(
    make_settings: Callable[..., Settings], administrator: Administrator
) -> AsyncIterator[AppServer]:
    """Start an application that connects as its own role."""
    async with serve(make_settings(database_url=administrator.role_url)) as running:
        yield running


@pytest.mark.parametrize("state", STATES)
async def test_what_needs_the_database_is_answered_503(
    app: AppServer, administrator: Administrator, state: str
) -> None:
    await ask(app, "GET", "/admin/signals")
    await ask(app, "POST", "/admin/order/sell-all", 202)
    async with administrator.state(state):
        for _ in range(3):  # the first may meet the sessions that were cut
            if state != "read-only":
                refused = await ask(app, "GET", "/admin/signals", 503)
                assert "database" in refused["detail"]
                await ask(app, "GET", "/admin/actions-log/export", 503)
            await ask(app, "POST", "/admin/order/sell-all", 503)
            async with app.http.post("/webhook/in", data=b'{"ticker": "NVDA", "action": "sell"}') as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"]
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            async with app.http.post("/admin/order/sell-all", headers=BEARER) as answer:
                if answer.status == 202:
                    return
                assert answer.status == 503  # met a session that was cut when the state ended
