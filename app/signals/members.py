"""Where the members of a JSON object stand in its bytes. Pure.

For bodies that have been parsed, and so are known to be valid.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

_BLANKS = rb"[ \t\r\n]*"
_STRING = rb'"(?:[^"\\]|\\.)*"'
_NAME = re.compile(_BLANKS + rb",?" + _BLANKS + rb"(" + _STRING + rb")" + _BLANKS + rb":" + _BLANKS)
_SCALAR = re.compile(_STRING + rb"|[^{\[\]},\" \t\r\n]+")
_BRACKETS = re.compile(_STRING + rb"|[{}\[\]]")
_decode_name = msgspec.json.Decoder(str).decode


class Member(NamedTuple):
    """A member's name; where the quote of its name, its value and the end of its value stand."""

    name: str
    start: int
    value: int
    end: int


def members(body: bytes) -> Iterator[Member]:
    """Yield the members of the object in `body`, in their order, a repeated name each time."""
    position = body.index(b"{") + 1
    while found := _NAME.match(body, position):
        scalar = _SCALAR.match(body, found.end())
        position = scalar.end() if scalar else _end_of_nested(body, found.end())
        yield Member(_decode_name(found[1]), found.start(1), found.end(), position)


def _end_of_nested(body: bytes, start: int) -> int:
    """Return where the array or object that begins at `start` ends."""
    depth = 0
    for mark in _BRACKETS.finditer(body, start):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    raise ValueError("the body is no valid JSON")


def without(body: bytes, unwanted: str) -> bytes:
    """Return `body` without the members of that name and their commas; the other bytes as they were."""
    spans = list(members(body))
    kept = [index for index, member in enumerate(spans) if member.name != unwanted]
    if len(kept) == len(spans):
        return body
    # each but the last that stays keeps its comma and the blanks around it
    parts = [body[spans[index].start : spans[index + 1].start] for index in kept[:-1]]
    parts += [body[spans[index].start : spans[index].end] for index in kept[-1:]]
    return b"".join([body[: spans[0].start], *parts, body[spans[-1].end :]])
