"""Why something happened, or was refused, in the reader's language.

Reasons are kept in English, in the words of the code that decided. The English texts under `reason.` and
`refusal.` are their patterns: a reason that fits one is shown as the same text of the reader's language, any
other as it is.
"""

import re
from functools import cache
from typing import NamedTuple

from app.web.locale import current
from app.web.texts import catalogue, text

_PREFIXES = ("reason.", "refusal.")
_SHAPES = {"place": r"\S+"}  # a file, a field, an address; any other part is whatever stands there


class _Pattern(NamedTuple):
    """An English text; what it begins and ends with spares most reasons the search."""

    key: str
    start: str
    end: str
    expression: re.Pattern[str]


def translate(reason: str) -> str:
    """Return the reason in the reader's language; a reason within it is translated too."""
    if current.get().language == "en":
        return reason
    for key, start, end, expression in _patterns():
        if not reason.startswith(start) or not reason.endswith(end):
            continue
        if found := expression.fullmatch(reason):
            values = found.groupdict()
            return text(key, **{name: translate(value) for name, value in values.items()})
    return reason


@cache
def _patterns() -> list[_Pattern]:
    """Those with the most words of their own first."""
    english = {key: words for key, words in catalogue("en").items() if key.startswith(_PREFIXES)}
    ordered = sorted(english.items(), key=lambda item: -len(re.sub(r"\{\w+\}", "", item[1])))
    return [_pattern(key, words) for key, words in ordered]


def _pattern(key: str, words: str) -> _Pattern:
    parts = re.split(r"\{(\w+)\}", words)  # words and names of places take turns
    expression = "".join(
        f"(?P<{part}>{_SHAPES.get(part, '.+')})" if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
    return _Pattern(key, parts[0], parts[-1], re.compile(expression, re.DOTALL))
