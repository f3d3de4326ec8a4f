"""The process's HTTP servers: the app, and the operations port. The edge speaks TLS.

uvicorn writes an answer's head and its body one after the other, and uvloop sends each at once. These are two
system calls and two wake-ups of the receiver. Here all writes of one turn of the event loop are sent
together.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app import termination

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Iterable, Iterator
    from types import FrameType

    from app.context import AppContext
    from app.settings import Settings

_HELD_BYTES = 65_536  # where the inner transport begins to hold back its writers
_UPGRADE_OPTIONS = frozenset({b"upgrade", b"http2-settings"})
_REST_SECONDS = 2.0  # of a message too large, before its connection is closed


class CoalescingTransport(asyncio.Transport):
    """Hold what is written until the event loop's next turn, or until it is more than `_HELD_BYTES`."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.inner = inner
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(bytes(data))
        self._size += len(data)
        if self._size > _HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write now; a closed connection gets nothing."""
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._size = 0
            if not self.inner.is_closing():
                self.inner.write(data)

    def close(self) -> None:
        self.flush()
        self.inner.close()

    def is_closing(self) -> bool:
        return self.inner.is_closing()

    def pause_reading(self) -> None:
        self.inner.pause_reading()

    def resume_reading(self) -> None:
        self.inner.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # as asyncio has it
        return self.inner.get_extra_info(name, default)


class CoalescingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP over such a transport; a WebSocket gets the inner one.

    An upgrade that is not offered is ignored, as RFC 9110 (section 7.8) allows. The request is read as usual.
    """

    _ignores_upgrade = False  # of the request whose head was just parsed

    @staticmethod
    def count_invalid(address: str) -> None:
        """Count what is not valid HTTP, by the client's address; `Server` replaces it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(CoalescingTransport(transport, self.loop))

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif self._ignores_upgrade:
                self._read_without_upgrade(data[upgrade.args[0] :])
            else:
                self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            self.count_invalid(self.client[0] if self.client else "")
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        """Start the request, unless its head is to be read again without an upgrade."""
        if self.parser.should_upgrade():
            method = self.parser.get_method()
            self.scope["method"] = method.decode("ascii")
            if method != b"CONNECT" and not self._should_upgrade():
                self._ignores_upgrade = True  # the parser takes the body for another protocol and stops here
                return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request, unless its head is to be read again."""
        if not self._ignores_upgrade:
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return self.scope["method"] == "GET" and super()._should_upgrade()  # as RFC 6455 has it

    def _read_without_upgrade(self, rest: bytes) -> None:
        """Parse the request again from its head on, without the members that ask for another protocol.

        Fails open: an alert whose client offers HTTP/2 or TLS is stored as any other.
        """
        self._ignores_upgrade = False
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.scope["method"].encode(), self.url, version)]
        lines += [b"%b: %b" % header for header in _without_upgrade(self.headers)]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over: frames are whole already, and wait for nothing."""
        if isinstance(self.transport, CoalescingTransport):
            self.transport.flush()
            self.transport = self.transport.inner
        super().handle_websocket_upgrade()


def _without_upgrade(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == b"connection":
            kept = [each for each in value.split(b",") if each.strip().lower() not in _UPGRADE_OPTIONS]
            if kept:
                yield name, b",".join(kept)
        elif name not in _UPGRADE_OPTIONS:
            yield name, value


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


def _counting_protocol(app: Any) -> type[CoalescingProtocol]:  # noqa: ANN401  # any ASGI application
    """Return the protocol whose denials are counted where the application counts its own, once it runs."""

    class CountingProtocol(CoalescingProtocol):
        @staticmethod
        def count_invalid(address: str) -> None:
            context: AppContext | None = getattr(getattr(app, "state", None), "context", None)
            if context is not None:
                context.denials.count("http", address)

    return CountingProtocol


class Server(uvicorn.Server):
    """Serves `app` on the settings' port; further apps from when it is up until it goes down."""

    def __init__(self, app: Any, settings: Settings) -> None:  # noqa: ANN401  # any ASGI application
        super().__init__(
            uvicorn.Config(
                app,
                host="0.0.0.0",  # noqa: S104  # the container's network; compose says what is published
                port=settings.server_port,
                http=_counting_protocol(app),
                log_config=None,
                access_log=False,
                server_header=False,
                ws=LiveProtocol,
                ws_max_size=65_536,
                ws_ping_interval=10,  # a page that vanished is gone after 20 s
                ws_ping_timeout=10,
                timeout_graceful_shutdown=5,
            )
        )
        self._further: list[tuple[_FurtherServer, socket.socket]] = []
        self._running: list[asyncio.Task[None]] = []

    def serve_operations(self, app: Any, bound: socket.socket) -> None:  # noqa: ANN401  # any ASGI application
        """Serve another app as well, on a socket that has its address."""
        config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, server_header=False)
        self._further.append((_FurtherServer(config), bound))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in order; while the start still waits for the database nothing was accepted: end at once."""
        if not self.started:
            termination.end_at_once(sig, frame)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, and then the further servers."""
        await super().startup(sockets)
        self._running = [asyncio.create_task(server.serve([bound])) for server, bound in self._further]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the further servers' requests end before the app does."""
        for server, _ in self._further:
            server.should_exit = True
        await asyncio.gather(*self._running)
        await super().shutdown(sockets)


class _FurtherServer(uvicorn.Server):
    """A server that is started and stopped by `Server`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # the first server handles them, and ends this one
