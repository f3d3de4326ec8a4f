"""Why something happened, or was refused, in the reader's language.

Reasons are kept in English, in the words of the code that decided. The English texts under `reason.` and
`refusal.` are their patterns: a reason that fits one is told by the same text of the reader's language, any
other as it is.
"""

import re
from functools import cache

from app.admin.preferences import current
from app.admin.texts import catalogue, text

_PREFIXES = ("reason.", "refusal.")
_SHAPES = {"place": r"\S+"}  # a file, a field, an address; any other part is whatever stands there


def told(reason: str) -> str:
    """The reason for this reader; a reason within it is told too."""
    if current.get().language == "en":
        return reason
    for key, pattern in _patterns():
        if found := pattern.fullmatch(reason):
            values = found.groupdict()
            return text(key, **{name: told(value) for name, value in values.items()})
    return reason


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Key and pattern, those with the most words of their own first."""
    english = {key: words for key, words in catalogue("en").items() if key.startswith(_PREFIXES)}
    ordered = sorted(english.items(), key=lambda item: -len(re.sub(r"\{\w+\}", "", item[1])))
    return [(key, re.compile(_expression(words), re.DOTALL)) for key, words in ordered]


def _expression(words: str) -> str:
    parts = re.split(r"\{(\w+)\}", words)  # words and names of places take turns
    return "".join(
        f"(?P<{part}>{_SHAPES.get(part, '.+')})" if number % 2 else re.escape(part)
        for number, part in enumerate(parts)
    )
