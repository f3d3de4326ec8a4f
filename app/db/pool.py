"""Connections to PostgreSQL: pools that connect when asked to, and single connections.

A database that is unavailable delays work, not the start.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from app.db import address
from app.db.address import Address, Keepalive
from app.runtime.supervisor import acting_for

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:  # generic only for the type checker
    Pool, Connection = asyncpg.Pool, asyncpg.Connection

APPLICATION_NAME = "trading-signal-processor"

_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 30.0
# Of every session, unless the URL sets them.
# An idle transaction, and a peer that is gone, hold no lock for longer.
_SETTINGS = {
    "timezone": "UTC",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "jit": "off",  # compiling a plan takes longer than any of our statements runs
    # A plan is kept while tables grow: one for an empty table would read all of it, again and again.
    "enable_seqscan": "off",
    # Orders are written with their signals: the trigger that does so for a version before has nothing to do.
    "trading_signals.writes_orders": "on",
}

# Of sessions that run few statements again and again: each keeps its plan. By itself PostgreSQL plans each
# run anew where an argument omits a part of the statement. That took longer than to run it.
KEPT_PLANS = {"plan_cache_mode": "force_generic_plan"}


class _Session(asyncpg.Connection):
    """A connection without session state: no user changes settings, holds session locks or listens.

    So it skips the statement that would reset the session after each use, a round trip of its own. An open
    transaction is still rolled back.
    """

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:  # noqa: ANN401  # asyncpg's, handed on
        super().__init__(protocol, transport, *rest)
        self.socket: socket.socket | None = transport.get_extra_info("socket")

    def get_reset_query(self) -> str:
        return ""


_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode


async def _prepare(keepalive: Keepalive, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Find out by TCP when the server is gone; hand jsonb columns through as Python objects."""
    _keep_alive(connection, keepalive)
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="text",
        encoder=lambda value: _encode_json(value).decode(),
        decoder=_decode_json,
    )


def _keep_alive(connection: "asyncpg.Connection[asyncpg.Record]", keepalive: Keepalive) -> None:
    peer = connection.socket if isinstance(connection, _Session) else None
    if peer is None or peer.family == socket.AF_UNIX or not keepalive.enabled:
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", keepalive.idle),
        ("TCP_KEEPINTVL", keepalive.interval),
        ("TCP_KEEPCNT", keepalive.count),
        ("TCP_USER_TIMEOUT", keepalive.user_timeout_ms),
    ):
        if option := getattr(socket, name, None):  # not every platform has each of them
            peer.setsockopt(socket.IPPROTO_TCP, option, value)


async def open_pool(
    database_url: str,
    size: int,
    *,
    role: str = "",
    settings: dict[str, str] | None = None,
    users: MutableMapping[int, str] | None = None,
) -> Pool:
    """Make a pool of at most `size` connections; none is opened yet.

    A statement that takes 30 s is broken off: nothing of ours takes a tenth of that. `settings` go on top of
    those of every session. `users` is kept up to date: what each server process was last acquired for.
    """
    where = address.parse(database_url)

    async def note_user(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
        if users is not None:
            users[connection.get_server_pid()] = acting_for.get()

    return await asyncpg.create_pool(
        where.url,
        min_size=0,
        max_size=size,
        command_timeout=_COMMAND_SECONDS,
        timeout=where.connect_seconds or _CONNECT_SECONDS,
        init=partial(_prepare, where.keepalive),
        setup=note_user,
        connection_class=_Session,
        server_settings=_server_settings(where, role, settings),
    )


@asynccontextmanager
async def acquire_for(pool: Pool, seconds: float) -> AsyncIterator[Connection]:
    """Acquire a connection and cut it after so many seconds, if the block has not ended by then.

    A statement that is broken off waits for the server's word, and so does the rollback after it. A cut
    connection, which may lead nowhere, ends both at once with an error of `TRANSIENT_DB_ERRORS`.
    """
    async with pool.acquire(timeout=seconds) as connection:
        cutting = asyncio.get_running_loop().call_later(seconds, connection.terminate)
        try:
            yield connection
        finally:
            cutting.cancel()


async def connect(
    database_url: str,
    *,
    role: str,
    seconds: float = _CONNECT_SECONDS,
    command_seconds: float | None = _COMMAND_SECONDS,
    settings: dict[str, str] | None = None,
) -> "asyncpg.Connection[asyncpg.Record]":
    """Open one connection, within `seconds` unless the URL says otherwise; `role` is added to its name."""
    where = address.parse(database_url)
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        where.url,
        timeout=where.connect_seconds or seconds,
        command_timeout=command_seconds,
        connection_class=_Session,
        server_settings=_server_settings(where, role, settings),
    )
    await _prepare(where.keepalive, connection)
    return connection


def _server_settings(where: Address, role: str, settings: dict[str, str] | None) -> dict[str, str]:
    name = f"{where.application_name or APPLICATION_NAME} {role}".rstrip()
    ours = {setting: value for setting, value in _SETTINGS.items() if setting not in where.settings}
    return {**ours, **(settings or {}), "application_name": name}
