"""One write for what an answer consists of.

uvicorn writes an answer's head and its body one after the other, and uvloop passes on each at once: two
system calls, and a receiver that is woken twice. Here all of one turn of the event loop leaves together.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HELD_BYTES = 65_536  # where the transport beneath begins to hold back who writes


class CoalescingTransport(asyncio.Transport):
    """Holds what is written until the event loop's next turn, or until it is much."""

    def __init__(self, beneath: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.beneath = beneath
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Write later, but in order."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(bytes(data))
        self._size += len(data)
        if self._size > _HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write now; whoever has gone away gets nothing."""
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._size = 0
            if not self.beneath.is_closing():
                self.beneath.write(data)

    def close(self) -> None:
        """Close once all is written."""
        self.flush()
        self.beneath.close()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self.beneath.is_closing()

    def pause_reading(self) -> None:
        """Take nothing more from the sender for now."""
        self.beneath.pause_reading()

    def resume_reading(self) -> None:
        """Take from the sender again."""
        self.beneath.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  # as asyncio has it
        """Tell addresses and the like."""
        return self.beneath.get_extra_info(name, default)


class CoalescingProtocol(HttpToolsProtocol):
    """uvicorn's HTTP over such a transport; a WebSocket gets the one beneath."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin a connection."""
        super().connection_made(CoalescingTransport(transport, self.loop))

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over: frames are whole already, and wait for nothing."""
        if isinstance(self.transport, CoalescingTransport):
            self.transport.flush()
            self.transport = self.transport.beneath
        super().handle_websocket_upgrade()
