"""Prometheus metrics on a separate port, at `/` and `/metrics`.

A separate module: it has a server and a thread of its own, which only `serve` starts.
"""

from prometheus_client import start_http_server

from app.errors import ConfigurationError


def start(port: int) -> None:
    """Serve the metrics from a thread until the process ends; the stack publishes the port only on loopback.

    Raises:
        ConfigurationError: another process listens on the port.
    """
    try:
        start_http_server(port)
    except OSError as error:
        raise ConfigurationError(
            f"PROMETHEUS_PORT={port} cannot be listened on ({error}): choose another"
        ) from error
