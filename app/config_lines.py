"""On which line of a JSON text a value stands, so that an error can say where to look. Pure."""

import json
import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def line_of(text: str, place: str) -> int:
    """Return the line of `place` (`strategies[1].top_n`), or of the innermost value around it that is there.

    `text` is valid JSON; lines count from 1.
    """
    wanted: list[str | int] = [
        int(step[1]) if step[1] is not None else step[2] for step in _STEP.finditer(place)
    ]
    path: list[
        str | int | None
    ] = []  # per open container: the index in a list, the key (None before it) in an object
    depth_found, line = 0, 1
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in {"}", "]"}:
            path.pop()
        elif mark == ",":
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else None
        elif mark == ":":
            continue
        elif path and path[-1] is None:
            path[-1] = json.loads(mark)
        else:
            if len(path) > depth_found and path == wanted[: len(path)]:
                depth_found, line = len(path), text.count("\n", 0, token.start()) + 1
            if mark in {"{", "["}:
                path.append(0 if mark == "[" else None)
    return line
