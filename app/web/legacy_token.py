"""Accept the token of clients of the replaced system: the field `token` of an admin call's JSON body.

Only with LEGACY_API. The token becomes the request's bearer token, so `Authentication` compares, delays and
counts it like any other one. It is removed from the body: no route, log or table gets it.
"""

import asyncio

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.authentication import is_public

_PREFIX = "/admin/"
_LIMIT = 64 * 1024
_SECONDS = 5.0

_Fields = dict[str, msgspec.Raw]
_decode_fields = msgspec.json.Decoder(_Fields).decode
_decode_text = msgspec.json.Decoder(str).decode


class LegacyToken:
    """Moves `token` from the JSON body of an admin call without an Authorization header into that header."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the inner application, with the token as a header if the body has one.

        Fails closed: a body that is too long, too slow or not a JSON object has no token. The request is then
        authenticated as it came.
        """
        if not _may_have_token(scope):
            await self.app(scope, receive, send)
            return
        messages = await _read(receive)
        body = b"".join(message.get("body", b"") for message in messages)
        is_complete = bool(messages) and not messages[-1].get("more_body", False)
        found = _split(body) if is_complete else None
        if found is None:
            await self.app(scope, _replay(messages, receive), send)
            return
        token, rest = found
        scope["headers"] = _headers(scope, token, len(rest))  # in place: the access log reads the route here
        await self.app(scope, _replay([{"type": "http.request", "body": rest}], receive), send)


def _may_have_token(scope: Scope) -> bool:
    if scope["type"] != "http" or is_public(scope["path"]) or not scope["path"].startswith(_PREFIX):
        return False
    return "authorization" not in Headers(scope=scope)


async def _read(receive: Receive) -> list[Message]:
    """Return the messages of a body that may be a JSON object, as far as it is read."""
    messages: list[Message] = []
    size, first = 0, b""
    try:
        async with asyncio.timeout(_SECONDS):
            while True:
                message = await receive()
                messages.append(message)
                chunk: bytes = message.get("body", b"")
                size += len(chunk)
                first = first or chunk.lstrip()[:1]
                if not message.get("more_body", False) or size > _LIMIT or first not in {b"", b"{"}:
                    return messages
    except TimeoutError:
        return messages


def _split(body: bytes) -> tuple[str, bytes] | None:
    """Return the token and the body without it; None if there is none. The other fields keep their bytes."""
    if len(body) > _LIMIT:
        return None
    try:
        fields = _decode_fields(body)
        token = _decode_text(fields.pop("token"))
    except (KeyError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
    return token, msgspec.json.encode(fields)


def _headers(scope: Scope, token: str, length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    bearer = (b"authorization", b"Bearer " + token.encode("utf-8", "replace"))
    return [*kept, (b"content-length", str(length).encode()), bearer]


def _replay(messages: list[Message], receive: Receive) -> Receive:
    """Return a `receive` that gives these messages first."""
    waiting = iter(messages)

    async def replayed() -> Message:
        message = next(waiting, None)
        return await receive() if message is None else message

    return replayed
