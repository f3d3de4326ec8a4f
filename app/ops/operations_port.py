"""The operations port: `/health` from the application's own event loop, and the Prometheus metrics.

Flows and Prometheus use it; the stack publishes it only on loopback. Without metrics it has `/health` alone.
"""

import socket
from typing import TYPE_CHECKING

from prometheus_client import make_asgi_app
from starlette.responses import PlainTextResponse

from app.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


def bind(port: int) -> socket.socket:
    """Bind the port; no connection is accepted before a server listens.

    Raises:
        ConfigurationError: another process listens on the port.
    """
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind(("0.0.0.0", port))  # noqa: S104  # the container's network; compose says what is published
    except OSError as error:
        found.close()
        raise ConfigurationError(
            f"PROMETHEUS_PORT={port} cannot be listened on ({error}): choose another"
        ) from error
    return found


def make_app(application: "ASGIApp", *, has_metrics: bool) -> "ASGIApp":
    """Return what answers there: `application` for `/health`, the metrics at `/` and `/metrics`."""
    metrics = make_asgi_app()

    async def answer(scope: "Scope", receive: "Receive", send: "Send") -> None:
        path = scope["path"] if scope["type"] == "http" else None
        if path == "/health":
            await application(scope, receive, send)
        elif path in {"/", "/metrics"} and has_metrics:
            await metrics(scope, receive, send)
        elif path is not None:
            await PlainTextResponse("not found: there is /health, and /metrics unless it is off\n", 404)(
                scope, receive, send
            )

    return answer
