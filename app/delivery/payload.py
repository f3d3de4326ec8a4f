"""The body that leaves: the signal's own bytes, with what the destination needs added (SPEC §10). Pure."""

import json
import re
from typing import NamedTuple
from uuid import UUID

# A name, then the value's first character; and the marks that matter at the top level of an object.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]', re.DOTALL)
_BLANKS = b" \t\r\n"
_SKIP_BLANKS = re.compile(rb"[ \t\r\n]*")
_NONE_SENT = frozenset({b"null", b'""'})


class _Value(NamedTuple):
    name: str
    start: int
    end: int


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
    values = _values(body)
    result = bytearray(body)
    missing = dict(needed)
    for value in reversed(values):  # from the end, so that the spans before stay right
        replacement = None
        if value.name == "ticker":
            replacement = json.dumps(ticker).encode()
        elif value.name in needed:
            missing.pop(value.name, None)
            if body[value.start : value.end] in _NONE_SENT:
                replacement = needed[value.name]
        if replacement is not None:
            result[value.start : value.end] = replacement
    added = b",".join(json.dumps(name).encode() + b":" + value for name, value in missing.items())
    if added:
        return _append(bytes(result), added, first=not values)
    return bytes(result)


def has_quantity(body: bytes) -> bool:
    """Say whether the signal names a `quantity`: such a sell may leave a rest of the position (SPEC §11)."""
    return any(
        value.name == "quantity" and body[value.start : value.end] not in _NONE_SENT
        for value in _values(body)
    )


def _append(body: bytes, added: bytes, *, first: bool) -> bytes:
    end = body.rindex(b"}")
    last = len(body[:end].rstrip(_BLANKS))
    return body[:last] + (b"" if first else b",") + added + body[last:]


def _values(body: bytes) -> list[_Value]:
    """Find the object's own members: each name, and where its value stands, blanks around it excluded."""
    found: list[_Value] = []
    depth, name, start = 0, None, 0
    for token in _TOKEN.finditer(body):
        mark = token[0]
        if depth == 1 and mark in b",}" and name is not None:
            found.append(_Value(name, start, start + len(body[start : token.start()].rstrip(_BLANKS))))
            name = None
        if mark in b"{[":
            depth += 1
        elif mark in b"}]":
            depth -= 1
        elif depth == 1 and mark == b":":
            blanks = _SKIP_BLANKS.match(body, token.end())
            start = blanks.end() if blanks else token.end()
        elif depth == 1 and name is None and mark != b",":
            name = json.loads(mark)
    if depth != 0 or not body.lstrip(_BLANKS).startswith(b"{"):
        raise ValueError("the body is no JSON object")
    return found
