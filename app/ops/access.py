"""The access log: route templates, never paths or queries, for those hold secrets (SPEC §17)."""

import logging
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

# Asked every few seconds: lines for those who debug.
_QUIET = frozenset({"/health", "/health/detailed", "/static"})


class AccessLog:
    """Writes one line for each HTTP request, when its answer is complete.

    Posts to the webhook do not come by here: intake logs them with what became of them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note how it ended."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            route = getattr(scope.get("route"), "path", "-")
            level = logging.DEBUG if route in _QUIET and status < 500 else logging.INFO
            if log.is_enabled_for(level):
                milliseconds = round((time.perf_counter() - started) * 1000, 1)
                log.log(
                    level,
                    "request",
                    method=scope["method"],
                    route=route,
                    status=status,
                    milliseconds=milliseconds,
                )
