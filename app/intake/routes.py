"""`POST /webhook/in[/secret][/]` as plain ASGI, before all layers of the framework.

Their work for each request costs more than all that the webhook does (docs/performance.md).
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import SequenceMatcher
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.intake.service import EDGE_HEADER, Accepted, Envelope, IntakeService, PostRefusedError
from app.signals.alert import BODY_LIMIT
from app.signals.reasons import Reason, ReasonCode
from app.web.problems import internal_error

_PATH = "/webhook/in"
_SECRET_PREFIX = f"{_PATH}/"
_OTHER_ROUTES = frozenset({"admin", "docs", "health", "openapi.json", "static", "ws"})
_WORD, _LEAST_SIMILARITY, _LONGEST_WORD = "webhook", 0.8, 20
_NOT_A_LETTER = re.compile(r"[^a-z]")
_BODY_SECONDS = 2.0
_LARGEST_SIZE = 2**31 - 1  # bytes that a refused post may be shown with
_DRAIN_BYTES, _DRAIN_SECONDS = 8_000_000, 0.5  # of a body that is too large, before the connection is closed
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # of browsers, which send no alerts
_KEY_HEADERS = (
    (b"idempotency-key", "Idempotency-Key"),
    (b"webhook-id", "webhook-id"),
)  # the first one counts
_RETRY_AFTER_SECONDS = "5"  # the interval at which TradingView repeats an alert
_EDGE_HEADER = EDGE_HEADER.lower().encode()
_encode = msgspec.json.Encoder().encode


class WebhookMiddleware:
    """Answers requests to the webhook with `app.state.intake`; passes every other request on.

    It is outside of the framework's handling of errors, so it answers an unexpected one itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        in_path = secret_in_path(path, scope.get("raw_path") or path.encode())
        if in_path is None and not is_misspelt(path, scope["method"]):
            await self.app(scope, receive, send)
            return
        try:
            accepted = await _accept(scope, receive, in_path)
        except PostRefusedError as error:
            await _error_response(error)(scope, receive, send)
        except ClientDisconnect:
            return  # the client has disconnected
        except Exception:
            await internal_error()(scope, receive, send)
            raise  # the server logs it
        else:
            if _received(receive):  # after the whole body only the end of the connection
                scope["app"].state.intake.note_unanswered(accepted)
            await _send_accepted(accepted, send)


def secret_in_path(path: str, raw_path: bytes) -> bytes | None:
    """Return what follows `/webhook/in/`, still percent-encoded; None if the path is not the webhook's.

    A trailing slash is not part of the path. A slash in a secret must be sent as `%2F`.
    """
    if path == _PATH:
        return b""
    if not path.startswith(_SECRET_PREFIX):
        return None
    prefix = _SECRET_PREFIX.encode()
    whole = raw_path if raw_path.startswith(prefix) else path.encode()
    rest = whole[len(prefix) :]
    return None if b"/" in rest.rstrip(b"/") else rest


def secrets_in(path_rest: bytes, query: bytes) -> Iterator[bytes]:
    """Yield every candidate for the secret in a path and a query, percent-decoded and as it was sent."""
    if path_rest:
        for text in {path_rest.rstrip(b"/"), path_rest} - {b""}:
            yield from _decodings(text)
    if b"secret" in query or b"%" in query:
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            if unquote_to_bytes(name) == b"secret":
                yield from _decodings(value)
                yield unquote_to_bytes(value.replace(b"+", b" "))


def _decodings(text: bytes) -> Iterator[bytes]:
    yield text
    yield unquote_to_bytes(text)


def is_misspelt(path: str, method: str) -> bool:
    """Return whether a path resembles the webhook's but is not it: case, spelling or slashes differ.

    A POST to `/` counts too: people often enter an address without a path at first.
    """
    parts = [part for part in path.lower().split("/") if part][:3]
    if not parts:
        return method == "POST"
    return parts[0] not in _OTHER_ROUTES and any(map(_is_like_webhook, parts))


def _is_like_webhook(part: str) -> bool:
    word = _NOT_A_LETTER.sub("", part[:_LONGEST_WORD])
    return "hook" in word or SequenceMatcher(None, word, _WORD).ratio() >= _LEAST_SIMILARITY


async def _accept(scope: Scope, receive: Receive, in_path: bytes | None) -> Accepted:
    """Read the post and have it stored; `in_path` is None for a misspelt path.

    Raises:
        PostRefusedError: the response to send instead of the 202.
        ClientDisconnect: the client closed the connection.
    """
    intake: IntakeService = scope["app"].state.intake
    is_post = scope["method"] == "POST"
    if in_path is None:
        if is_post:
            raise intake.refuse_misspelt_path(_client(scope))
        raise PostRefusedError(404, Reason(ReasonCode.WRONG_PATH))
    if not is_post:
        raise intake.refuse_method(_client(scope), is_counted=scope["method"] not in _READING_METHODS)
    headers = dict(scope["headers"])
    envelope = _envelope(scope, headers, in_path)
    body = await _read_body(receive, headers, intake, envelope)
    return await intake.accept(body, envelope)


def _envelope(scope: Scope, headers: Mapping[bytes, bytes], in_path: bytes) -> Envelope:
    header = headers.get(b"x-webhook-secret")
    key_header, key = "", b""
    for raw, name in _KEY_HEADERS:
        if not key and (key := headers.get(raw, b"")):
            key_header = name
    return Envelope(
        secrets=(*((header,) if header else ()), *secrets_in(in_path, scope["query_string"])),
        key_header=key_header,
        idempotency_key=key.decode("latin-1"),
        edge_request_id=headers.get(_EDGE_HEADER, b"").decode("latin-1"),
        client=_client(scope),
    )


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


async def _read_body(
    receive: Receive, headers: Mapping[bytes, bytes], intake: IntakeService, envelope: Envelope
) -> bytes:
    """Read the body, at most 64 KiB; reading stops at the first part that exceeds the limit.

    Raises:
        PostRefusedError: 413 if it is too large, 408 if it is incomplete after 2 s.
        ClientDisconnect: the client closed the connection; the post is kept or counted.
    """
    announced = headers.get(b"content-length", b"").lstrip(b"0")
    is_large = announced.isdigit() and (len(announced) > 20 or int(announced) > BODY_LIMIT)
    size = min(int(announced), _LARGEST_SIZE) if is_large and len(announced) <= 20 else 0
    body = _Body(most=0 if is_large else BODY_LIMIT)
    if first := _received(receive):  # most bodies come with the head: they need no timer
        body.add(first)
    if body.is_unfinished:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while body.is_unfinished:
                    body.add(await receive())
        except TimeoutError as error:
            late = Reason(ReasonCode.BODY_LATE, seconds=f"{_BODY_SECONDS:g}")
            raise intake.refuse_incomplete(408, late, envelope, body.read) from error
    if body.is_cut_off:
        intake.refuse_incomplete(400, Reason(ReasonCode.BODY_CUT_OFF), envelope, body.read)
        raise ClientDisconnect
    if is_large or len(body.read) > BODY_LIMIT:
        refusal = intake.refuse_incomplete(
            413, Reason(ReasonCode.BODY_TOO_LARGE, bytes=BODY_LIMIT), envelope, body.read, size=size
        )
        if body.has_more:
            await _drain_body(receive)
        raise refusal
    return body.read


class _Body:
    """What was read of a body; it is not read further once it has more than `most` bytes."""

    __slots__ = ("has_more", "is_cut_off", "most", "read")

    def __init__(self, most: int) -> None:
        self.most, self.read = most, b""
        self.has_more, self.is_cut_off = True, False

    @property
    def is_unfinished(self) -> bool:
        """Whether another message is to be received."""
        return self.has_more and len(self.read) <= self.most

    def add(self, message: Message) -> None:
        self.read += message.get("body", b"")
        self.has_more = message.get("more_body", False)
        self.is_cut_off = message["type"] == "http.disconnect"


async def _drain_body(receive: Receive) -> None:
    """Discard up to 8 MB for up to 0.5 s: a client that cannot finish sending never reads the response."""
    left, has_more = _DRAIN_BYTES, True
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while has_more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                has_more = message.get("more_body", False)


def _received(receive: Receive) -> Message | None:
    """Return the next message if it has come already, else None; the server keeps one that comes later."""
    receiving = receive().__await__()
    try:
        next(receiving)
    except StopIteration as received:
        message: Message = received.value
        return message
    receiving.close()
    return None


async def _send_accepted(accepted: Accepted, send: Send) -> None:
    content = {
        "queued": True,
        "signal_id": accepted.signal_id,
        "ticker": accepted.ticker,
        "queue_size": accepted.queue_size,
        "duplicate": accepted.duplicate,
    }
    body = _encode(content)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _error_response(error: PostRefusedError) -> Response:
    headers = dict[str, str]()
    if error.status == 503:
        headers["Retry-After"] = _RETRY_AFTER_SECONDS
    if error.status == 405:
        headers["Allow"] = "POST"
    if error.status in {408, 413}:
        headers["Connection"] = "close"  # the rest of the body is not read
    return Response(_encode({"detail": str(error)}), error.status, headers, media_type="application/json")
