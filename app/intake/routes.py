"""`POST /webhook/in[/secret]` as plain ASGI, before all other middleware and routes.

What a framework does for each request costs more than all that the webhook does itself (docs/performance.md).
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import parse_qs

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.intake.reception import Accepted, Envelope, NotTakenError, Reception

PATH = "/webhook/in"
_PATH_BEFORE_SECRET = f"{PATH}/"
_SECRET_IN_PATH = re.compile(rf"{_PATH_BEFORE_SECRET}[^/]+\Z")
BODY_LIMIT = 64 * 1024
_BODY_SECONDS = 2.0
_REST_BYTES, _REST_SECONDS = 8_000_000, 0.5  # of a body that is too large, before the connection is closed
_RETRY_AFTER_SECONDS = "5"  # the pace at which TradingView sends again
_encode = msgspec.json.Encoder().encode


class WebhookIn:
    """Answers posts to the webhook, by `app.state.reception`; hands on every other request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http" or not _is_webhook(scope["path"]):
            await self.app(scope, receive, send)
            return
        if scope["method"] != "POST":
            await Response(status_code=405, headers={"Allow": "POST"})(scope, receive, send)
            return
        reception: Reception = scope["app"].state.reception
        headers = dict(scope["headers"])
        envelope = _envelope(scope, headers)
        try:
            body = await _read(receive, headers, reception, envelope)
            accepted = await reception.take(body, envelope)
        except NotTakenError as error:
            await _refused(error)(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is left to answer
        else:
            await _send_accepted(accepted, send)


def _is_webhook(path: str) -> bool:
    """`/webhook/in`, or that with one more part: the secret."""
    return path == PATH or (path.startswith(_PATH_BEFORE_SECRET) and _SECRET_IN_PATH.match(path) is not None)


def _envelope(scope: Scope, headers: Mapping[bytes, bytes]) -> Envelope:
    secrets = list[bytes]()
    if header := headers.get(b"x-webhook-secret"):
        secrets.append(header)
    if secret := scope["path"][len(_PATH_BEFORE_SECRET) :]:
        secrets.append(secret.encode())
    if query := scope["query_string"]:
        secrets += [value.encode() for value in parse_qs(query.decode("latin-1")).get("secret", [])]
    key = headers.get(b"idempotency-key") or headers.get(b"webhook-id")
    client = scope.get("client")
    return Envelope(
        secrets=tuple(secrets),
        idempotency_key=key.decode("latin-1") if key else None,
        client=client[0] if client else "",
    )


async def _read(
    receive: Receive, headers: Mapping[bytes, bytes], reception: Reception, envelope: Envelope
) -> bytes:
    """Read the body; of one that is too large no more than shows that it is.

    Raises:
        NotTakenError: 413, or 408 when it does not come within 2 s.
        ClientDisconnect: the sender went away.
    """
    announced = headers.get(b"content-length", b"")
    is_large = announced.isdigit() and int(announced) > BODY_LIMIT
    body, more = b"", True
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while more and not (is_large and body):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                more = message.get("more_body", False)
                is_large = is_large or len(body) > BODY_LIMIT
    except TimeoutError as error:
        raise NotTakenError(408, f"body: did not come within {_BODY_SECONDS:g} s") from error
    if is_large:
        refusal = reception.too_large(BODY_LIMIT, envelope, body)
        if more:
            await _discard(receive)
        raise refusal
    return body


async def _discard(receive: Receive) -> None:
    """Read on for a moment: a sender that is cut off while it still sends never sees its answer."""
    left, more = _REST_BYTES, True
    with suppress(TimeoutError):
        async with asyncio.timeout(_REST_SECONDS):
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                more = message.get("more_body", False)


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


def _refused(error: NotTakenError) -> Response:
    headers = dict[str, str]()
    if error.status == 503:
        headers["Retry-After"] = _RETRY_AFTER_SECONDS
    if error.status in {408, 413}:
        headers["Connection"] = "close"  # the rest of the body is not read
    return Response(_encode({"detail": str(error)}), error.status, headers, media_type="application/json")
