"""Ports of this machine that tests may listen on."""

from __future__ import annotations

import random
import socket

# Below the range from which Linux takes the ports of outgoing connections (`ip_local_port_range`). Other
# workers open thousands of these, and one could take the port before the test listens on it.
_CANDIDATES = range(10_000, 32_000)


def free_port() -> int:
    """Return a free loopback port."""
    while True:
        port = random.choice(_CANDIDATES)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
