"""Where the members of a JSON object stand in its bytes. Pure.

For bodies that have been parsed, and so are known to be valid.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],]')


_TO_VALUE = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")


class Member(NamedTuple):
    """A member's name; where the quote of its name, its value and the end of its value stand."""

    name: str
    start: int
    value: int
    end: int


def members(body: bytes) -> Iterator[Member]:
    """Yield the members of the object in `body`, in their order, a repeated name each time."""
    depth, start, value, name = 0, 0, 0, None
    for token in _TOKEN.finditer(body):
        mark = token[0]
        if mark[:1] == b'"':
            if depth == 1 and name is None:
                name, start = msgspec.json.decode(mark, type=str), token.start()
                colon = _TO_VALUE.match(body, token.end())
                value = colon.end() if colon else token.end()
        elif mark in b"{[":
            depth += 1
        elif mark in b"}]":
            depth -= 1
        ends = (mark == b"," and depth == 1) or depth == 0
        if ends and name is not None:
            yield Member(name, start, value, value + len(body[value : token.start()].rstrip(b" \t\r\n")))
            name = None


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
