"""A server that gives one answer to everything and records requests."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Received(NamedTuple):
    """The received requests: the paths of GETs, and path and document of each POST."""

    url: str
    gets: list[str]
    posts: list[tuple[str, dict[str, Any]]]


@contextmanager
def serving(status: int = 200, certificate: Path | None = None) -> Iterator[Received]:
    """Run a server that answers everything with this status; a redirect leads to `/elsewhere`."""
    gets: list[str] = []
    posts: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gets.append(self.path)
            self._answer()

        def do_POST(self) -> None:
            posts.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self._answer()

        def _answer(self) -> None:
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        scheme = "https" if certificate else "http"
        yield Received(f"{scheme}://127.0.0.1:{server.server_address[1]}", gets, posts)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
