"""What is wrong with a configured value, in plain words: no regular expression, no type name. Pure."""

import re
from typing import Literal, get_args, get_origin, get_type_hints

from msgspec import Struct

_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_TYPE = re.compile(r"Expected `(?P<kind>[^`]+)`, got `(?P<given>[^`]+)`")
_SIZE = re.compile(r"Expected `(?P<kind>[^`]+)`(?P<length> of length)? (?P<sign>[<>]=?) (?P<limit>[\d.e+-]+)")
_SIZES = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def in_words(message: str, section: type[Struct], place: str) -> str:
    """Return msgspec's message on a value of the section in plain words: "must be at least 1".

    `place` is the value's path within the section, as in msgspec's message.
    """
    if found := _TYPE.fullmatch(message):
        return _of_type(found["kind"], found["given"])
    if found := _SIZE.fullmatch(message):
        limit = f"{float(found['limit']):.10g}"
        return (
            _of_length(found["kind"], found["sign"], limit)
            if found["length"]
            else (f"must be {_SIZES[found['sign']]} {limit}")
        )
    if " matching regex " in message:
        return "must be one line without control characters"
    if choices := _choices(section, place):
        return f"must be one of: {', '.join(choices)}"
    return "is not valid here"


def _of_type(expected: str, given: str) -> str:
    kinds = [_KINDS.get(kind, "another kind of value") for kind in expected.split(" | ") if kind != "null"]
    if given == "null":
        return "is required"
    return f"must be {' or '.join(kinds)}, not {_KINDS.get(given, 'another kind of value')}"


def _of_length(kind: str, sign: str, limit: str) -> str:
    if (sign, limit) == (">=", "1"):
        return "must not be empty"
    parts = "entries" if "array" in kind else "characters"
    return f"must have {_SIZES[sign]} {limit} {parts}"


def _choices(section: type[Struct], place: str) -> list[str]:
    hint: object = section
    for name in place.split("."):
        hint = get_type_hints(hint).get(name) if isinstance(hint, type) else None
    return [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []
