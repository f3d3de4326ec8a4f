"""Prometheus metrics on a port of their own, at `/` and `/metrics`.

A module of its own: `serve` alone starts it, before the application.
"""

from prometheus_client import start_http_server

from app.errors import ConfigurationError


def start(port: int) -> None:
    """Serve the metrics from a thread until the process ends; the stack publishes the port on loopback only.

    Raises:
        ConfigurationError: the port is taken.
    """
    try:
        start_http_server(port)
    except OSError as error:
        raise ConfigurationError(
            f"PROMETHEUS_PORT={port} cannot be listened on ({error}): choose another"
        ) from error
