"""The request that leaves: the signal's own bytes with what the destination needs, and headers. Pure."""

import json
from datetime import datetime
from uuid import UUID

import msgspec
from standardwebhooks import Webhook

from app.signals.alert import Member, members
from app.signals.statuses import SignalType

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NONE_SENT = frozenset({b"null", b'""'})


def render(body: bytes, *, signal_id: UUID, ticker: str, order_type: str, map_action: bool) -> bytes:
    """Return the body to send; every byte that need not change stays as it came.

    `ticker` is set to its normalised form, `signal_id` added where the sender sent none; with `map_action`
    an `action` (buy or sell) where there is none (`MAP_SIDE_TO_ACTION_TRADERSPOST`).

    Raises:
        ValueError: `body` is no JSON object.
    """
    needed = {"signal_id": json.dumps(str(signal_id)).encode()}
    if map_action:
        needed["action"] = b'"buy"' if order_type == SignalType.BUY else b'"sell"'
    found = _members(body)
    result = bytearray(body)
    missing = dict(needed)
    for member in reversed(found):  # from the end, so that the spans before stay right
        replacement = None
        if member.name == "ticker":
            replacement = json.dumps(ticker).encode()
        elif member.name in needed:
            missing.pop(member.name, None)
            if body[member.value : member.end] in _NONE_SENT:
                replacement = needed[member.name]
        if replacement is not None:
            result[member.value : member.end] = replacement
    added = b",".join(json.dumps(name).encode() + b":" + value for name, value in missing.items())
    if added:
        return _append(bytes(result), added, first=not found)
    return bytes(result)


def headers(*, webhook_id: str, body: bytes, sent_at: datetime, signing_secret: str) -> dict[str, str]:
    """Return the headers to send, as Standard Webhooks defines them.

    `sent_at` is the attempt's start, UTC; without a secret nothing is signed.

    Raises:
        UnicodeDecodeError: a body that is no UTF-8 cannot be signed.
    """
    named = {
        "content-type": "application/json",
        "accept-encoding": "identity",  # answers are kept as they come
        "user-agent": "trading-signal-processor",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
    }
    if signing_secret:
        named["webhook-signature"] = Webhook(signing_secret).sign(webhook_id, sent_at, body.decode())
    return named


def has_quantity(body: bytes) -> bool:
    """Say whether the signal names a `quantity`: such a sell may leave a rest of the position."""
    quantity = _decode(body).get("quantity")
    return quantity is not None and bytes(quantity) not in _NONE_SENT


def _append(body: bytes, added: bytes, *, first: bool) -> bytes:
    end = body.rindex(b"}")
    last = len(body[:end].rstrip(b" \t\r\n"))
    return body[:last] + (b"" if first else b",") + added + body[last:]


def _members(body: bytes) -> list[Member]:
    try:
        _decode(body)
    except msgspec.DecodeError as error:
        raise ValueError("the body is no JSON object") from error
    return list(members(body))
