"""A destination for deliveries: a real HTTP server that keeps every request exactly as it came.

It runs on a throw-away host, outside the stack, with the standard library only:

    python3 receiver.py PORT

`POST` anywhere is kept and answered with 200. `GET /received?count=N&timeout=S` answers once N requests
have come or S seconds have passed, with a JSON list of
`{"at": unix seconds, "path", "headers": {lower-case name: value}, "body": base64}`.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_received: list[dict[str, Any]] = []
_arrival = threading.Condition()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        entry = {
            "at": time.time(),
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": base64.b64encode(body).decode(),
        }
        with _arrival:
            _received.append(entry)
            _arrival.notify_all()
        self._answer(b'{"success":true}')

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        count, timeout = int(query["count"][0]), float(query["timeout"][0])
        with _arrival:
            _arrival.wait_for(lambda: len(_received) >= count, timeout)
            answer = json.dumps(_received).encode()
        self._answer(answer)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's own name
        """Keep quiet: what came is asked for by GET."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


if __name__ == "__main__":
    server = _Server(("", int(sys.argv[1])), _Handler)
    sys.stdout.write("listening\n")  # whoever started it waits for this line
    server.serve_forever()
