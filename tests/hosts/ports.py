"""Ports of this machine that tests may listen on."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a free loopback port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
