"""Translate English texts that were stored without a code: by earlier versions, imports and restores.

The templates of all codes, earlier ones included, are the patterns. A text that matches one is shown as the
text of its code in the reader's language; any other is shown unchanged.
"""

import re
from functools import cache
from typing import NamedTuple

from app.signals.reasons import CODES, ReasonCode
from app.web.texts import key_of, text

_SHAPES = {"place": r"\S+"}  # a file, a field, an address; any other part is whatever is there
_DEPTH, _LONGEST = 8, 2_000  # texts within a text; characters
_QUOTED = frozenset(
    {"word", "action", "side", "came", "ticker", "source"}
)  # what a sender wrote: never translated


class _Pattern(NamedTuple):
    """An English text; what it begins and ends with spares most reasons the search."""

    key: str
    start: str
    end: str
    expression: re.Pattern[str]


def translate(words: str, depth: int = _DEPTH) -> str:
    """Return the text in the reader's language and today's words; a reason within it is translated too.

    An imported text may be anything: one that is longer or deeper than those of the application is not
    translated.
    """
    if not depth or len(words) > _LONGEST:
        return words
    for key, start, end, expression in _patterns():
        if not words.startswith(start) or not words.endswith(end):
            continue
        if found := expression.fullmatch(words):
            values = {
                name: value if name in _QUOTED else translate(value, depth - 1)
                for name, value in found.groupdict().items()
            }
            return text(key, **values)
    return words


@cache
def _patterns() -> list[_Pattern]:
    """Those with the most words of their own first."""
    english = [
        (key_of(code), words)
        for code in CODES
        if code is not ReasonCode.OTHER  # its pattern would fit every text
        for words in (code.english, *code.earlier)
    ]
    ordered = sorted(english, key=lambda item: -len(re.sub(r"\{\w+\}", "", item[1])))
    return [_pattern(key, words) for key, words in ordered]


def _pattern(key: str, words: str) -> _Pattern:
    parts = re.split(r"\{(\w+)\}", words)  # words and names of places take turns
    expression = "".join(
        f"(?P<{part}>{_SHAPES.get(part, '.+')})" if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
    return _Pattern(key, parts[0], parts[-1], re.compile(expression, re.DOTALL))
