"""The texts by key. Each language has a folder with a file for each view, and `shell.json` for the rest.

The English texts of reasons are the templates of `app.signals.reasons`. `earlier.json` has the English texts
of other keys that were replaced, as they are stored in rows of before.
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from app.signals.reasons import ReasonCode
from app.web.locale import Language, current

FOR_SCRIPTS = "script."  # the prefix of the keys that scripts write with


@cache
def catalogue(language: Language = "en") -> dict[str, str]:
    """Return the texts of a language by key."""
    loaded: dict[str, str] = {}
    if language == "en":
        loaded |= {f"reason.{code}": code.english for code in ReasonCode}
    for file in sorted(files(__name__).joinpath(language).iterdir(), key=lambda each: each.name):
        loaded |= json.loads(file.read_text("utf-8"))
    return loaded


def earlier() -> Iterator[tuple[str, str]]:
    """Yield the English texts of earlier versions, which rows and exports of before have, with their keys."""
    for code in ReasonCode:
        yield from ((f"reason.{code}", words) for words in code.earlier)
    for key, texts in json.loads(files(__name__).joinpath("earlier.json").read_text("utf-8")).items():
        yield from ((key, words) for words in texts)


@cache
def for_scripts(language: Language) -> dict[str, str]:
    """Return the texts of scripts (`static/page/words.js`), by key without the prefix."""
    return {
        key.removeprefix(FOR_SCRIPTS): words
        for key, words in catalogue(language).items()
        if key.startswith(FOR_SCRIPTS)
    }


def text(key: str, **values: object) -> str:
    """Return a text in the reader's language with its `{places}` filled.

    Raises:
        KeyError: no such key, or a place without a value.
    """
    return catalogue(current.get().language)[key].format(**values)
