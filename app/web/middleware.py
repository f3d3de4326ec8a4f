"""Middleware for every response: security headers, HEAD as GET, the access log. Pure ASGI.

The content security policy is `default-src 'self'`. The access log has route templates, never paths or
queries, because those may contain secrets.
"""

import logging
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
# Swagger UI draws its icons from data: URLs; nothing else on the page does, so the exception is its own.
_DOCS_POLICY = _POLICY + "; img-src 'self' data:"

_ALWAYS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    # not no-referrer: with that a browser sends "Origin: null" along with the page's own forms
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)
_NO_STORE = (b"cache-control", b"no-store")
_REVALIDATE = (b"cache-control", b"no-cache")
_ELSEWHERE = (*_ALWAYS, (b"content-security-policy", _POLICY.encode()), _NO_STORE)
_STATIC = (*_ALWAYS, (b"content-security-policy", _POLICY.encode()), _REVALIDATE)
_FONT = (*_ALWAYS, (b"content-security-policy", _POLICY.encode()), (b"cache-control", b"max-age=604800"))
_DOCS = (*_ALWAYS, (b"content-security-policy", _DOCS_POLICY.encode()), _REVALIDATE)
# Requested every few seconds: logged at DEBUG only.
_QUIET = frozenset({"/health", "/health/detailed", "/static"})


def headers_for(path: str, status: int) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers for a path, answered with an HTTP status.

    `/static` is revalidated by ETag, but for the font: it is kept for a week, so that no page is drawn
    without it first. Nothing else is cached, and no error.
    """
    if path == "/docs":
        return _DOCS
    if path.startswith("/static/"):
        return _FONT if path.endswith(".woff2") and status in {200, 304} else _STATIC
    return _ELSEWHERE


class SecurityHeaders:
    """Adds `headers_for(path, status)` to every HTTP response, except those of the webhook."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = headers_for(scope["path"], message["status"])
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        await self.app(scope, receive, send_with_headers)


class HeadAsGet:
    """Handles HEAD on every route as GET; the server omits the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self.app(scope, receive, send)


class AccessLog:
    """Logs each HTTP request when its response is complete. Intake logs the posts to the webhook itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
