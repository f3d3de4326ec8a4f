"""The process's HTTP server, and beside it the same app over TLS where there is a certificate (SPEC §6)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app import termination
from app.coalescing import CoalescingProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator
    from types import FrameType

    from app.settings import Settings

_REST_SECONDS = 2.0  # of a message too large, before its connection is closed


class LiveProtocol(WebSocketsSansIOProtocol):
    """WebSockets whose clients learn why they are cut off, also in the middle of a message too large."""

    def handle_parser_exception(self) -> None:
        """Give the reason, and read on for a moment: closed at once, a client that still sends misses it."""
        if self.close_sent:
            return  # the rest of the message: discarded
        close = self.conn.close_sent
        code, reason = (close.code, close.reason) if close else (1002, "")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(_REST_SECONDS, self.transport.close)


class Server(uvicorn.Server):
    """Serves `app` on the settings' port; over TLS, too, from when it is up until it goes down."""

    def __init__(self, app: Any, settings: Settings) -> None:  # noqa: ANN401  # any ASGI application
        options: dict[str, Any] = {
            "host": "0.0.0.0",  # noqa: S104  # the container's network; compose says what is published
            "http": CoalescingProtocol,
            "log_config": None,
            "access_log": False,
            "server_header": False,
            "ws": LiveProtocol,
            "ws_max_size": 65_536,
            "ws_ping_interval": 10,  # a page that vanished is gone after 20 s; SPEC §15 allows 30
            "ws_ping_timeout": 10,
            "timeout_graceful_shutdown": 5,
        }
        super().__init__(uvicorn.Config(app, port=settings.server_port, **options))
        self._beside: _Beside | None = None
        self._running: asyncio.Task[None] | None = None
        if settings.tls_cert_file and settings.tls_key_file:
            self._beside = _Beside(
                uvicorn.Config(
                    app,
                    port=settings.tls_port,
                    lifespan="off",
                    ssl_certfile=settings.tls_cert_file,
                    ssl_keyfile=settings.tls_key_file,
                    **options,
                )
            )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in order; while the start still waits for the database nothing was accepted: end at once."""
        if not self.started:
            termination.end_at_once(sig, frame)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, and then what serves it over TLS."""
        await super().startup(sockets)
        if self._beside:
            self._running = asyncio.create_task(self._beside.serve())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests over TLS end before the app does."""
        if self._beside and self._running:
            self._beside.should_exit = True
            await self._running
        await super().shutdown(sockets)


class _Beside(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # the server that it stands beside takes them, and ends it
