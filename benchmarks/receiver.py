"""A destination with minimal overhead, as its own process: `python -m benchmarks.receiver`.

It writes its port, then answers each line of its input by a line of JSON:

    wait COUNT SECONDS    as soon as so many requests came, or after so long: how many did
    report                moments (`time.monotonic()`) of all requests by `webhook-id`, which it then drops
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"success":true}'
)


class Arrivals:
    """When each request came."""

    def __init__(self) -> None:
        self.moments: dict[str, float] = {}
        self.changed = asyncio.Event()

    def note(self, webhook_id: str) -> None:
        """Record the first arrival of an id."""
        self.moments.setdefault(webhook_id, time.monotonic())
        self.changed.set()

    async def reach(self, count: int, seconds: float) -> int:
        """Wait until so many requests came."""
        try:
            async with asyncio.timeout(seconds):
                while len(self.moments) < count:
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            pass
        return len(self.moments)


class Connection(asyncio.Protocol):
    """The part of HTTP/1.1 that a client with `Content-Length` needs."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport for answers."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's transport is not a subclass

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            headers = dict(
                line.lower().split(b": ", 1) for line in self._data[:end].split(b"\r\n")[1:] if b": " in line
            )
            size = end + 4 + int(headers[b"content-length"])
            if len(self._data) < size:
                return
            self._data = self._data[size:]
            self._arrivals.note(headers[b"webhook-id"].decode())
            self._transport.write(_ANSWER)


async def main() -> None:
    """Serve until the input ends."""
    arrivals = Arrivals()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(arrivals), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while command := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        if command[0] == "wait":
            print(await arrivals.reach(int(command[1]), float(command[2])), flush=True)
        else:
            print(json.dumps(arrivals.moments), flush=True)
            arrivals.moments.clear()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
