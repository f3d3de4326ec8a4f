"""The body that leaves: the signal's own bytes, with what the destination needs added (SPEC §10). Pure."""

import json
from uuid import UUID

import msgspec

from app.members import Member, members

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
        needed["action"] = b'"buy"' if order_type == "buy" else b'"sell"'
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


def has_quantity(body: bytes) -> bool:
    """Say whether the signal names a `quantity`: such a sell may leave a rest of the position (SPEC §11)."""
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
