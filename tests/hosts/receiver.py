"""A destination for deliveries: a real HTTP server that records every request unchanged.

It runs on a throw-away host, outside the stack, with the standard library only:

    python3 receiver.py PORT

`POST` anywhere is recorded and answered with 200, or as configured. `PUT /answers` with a JSON list of names
out of `_ANSWERS` gives these in turn, repeatedly. `PUT /away` with a number of seconds closes the port for so
long, and cuts open requests. `GET /received?count=N&timeout=S` answers after N requests or S seconds, with a
JSON list of `{"at": unix seconds, "path", "headers":
{lower-case name: value}, "body": base64, "answer": its name, "told": whether its status was sent}`.
"""

from __future__ import annotations

import base64
import itertools
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = b'{"success":true}'
_HUGE = b"\0\xff" * 5_000_000
_SILENCE = 30.0  # seconds: longer than any time-out of a test

# name → status, headers, body; no status: nothing is answered
_ANSWERS: dict[str, tuple[int | None, dict[str, str], bytes]] = {
    "200": (200, {}, OK),
    "302": (302, {"Location": "/elsewhere"}, b""),
    "400": (400, {}, b""),
    "429": (429, {"Retry-After": "1"}, b""),
    "500": (500, {}, b"\0"),
    "503": (503, {}, b""),
    "nul": (200, {}, b"\0" * 100),
    "huge": (200, {}, _HUGE),
    "close": (None, {}, b""),
    "hang": (None, {}, b""),
}

_received: list[dict[str, Any]] = []
_arrival = threading.Condition()
_turns: Iterator[str] = itertools.cycle(["200"])
_told_anew = threading.Event()  # ends every silence


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self._body()
        entry: dict[str, Any] = {
            "at": time.time(),
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": base64.b64encode(body).decode(),
            "told": False,
        }
        with _arrival:
            entry["answer"] = next(_turns)
            _received.append(entry)
            silence = _told_anew
            _arrival.notify_all()
        status, headers, answer = _ANSWERS[entry["answer"]]
        if entry["answer"] == "hang":
            silence.wait(_SILENCE)
        if status is None:
            self.close_connection = True
            return
        self._head(status, len(answer), headers)
        with _arrival:
            entry["told"] = True
        self.wfile.write(answer)

    def do_PUT(self) -> None:
        global _turns, _told_anew  # noqa: PLW0603 - the state of this one-file program
        wanted = json.loads(self._body())
        self._answer(OK)
        if self.path == "/away":
            threading.Thread(target=self.server.leave, args=(wanted,)).start()  # type: ignore[attr-defined]
            return
        with _arrival:
            _turns = itertools.cycle(wanted)
            _told_anew.set()
            _told_anew = threading.Event()

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        count, timeout = int(query["count"][0]), float(query["timeout"][0])
        with _arrival:
            _arrival.wait_for(lambda: len(_received) >= count, timeout)
            answer = json.dumps(_received).encode()
        self._answer(answer)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, body: bytes) -> None:
        self._head(200, len(body), {})
        self.wfile.write(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's own name
        """Log nothing: requests are read by GET."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("", port), _Handler)
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections = {other for other in self._connections if other.fileno() >= 0} | {connection}
        return connection, address

    def leave(self, seconds: float) -> None:
        """Refuse connections and close open ones; then listen again."""
        self.shutdown()
        self.socket.close()
        for connection in self._connections:
            if connection.fileno() >= 0:
                connection.shutdown(socket.SHUT_RDWR)
        time.sleep(seconds)
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.server_bind()
        self.server_activate()
        threading.Thread(target=self.serve_forever).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: some tests disconnect before their answer on purpose."""


if __name__ == "__main__":
    server = _Server(int(sys.argv[1]))
    sys.stdout.write("listening\n")  # the process that started it waits for this line
    sys.stdout.flush()
    server.serve_forever()
    threading.Event().wait()  # `leave` continues in its own threads
