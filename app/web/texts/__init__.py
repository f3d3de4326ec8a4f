"""The texts by key. Each language has a folder with a file for each view, and `shell.json` for the rest.

The English texts of reasons and refusals are the templates of their codes.
"""

import json
from functools import cache
from importlib.resources import files

from app.signals.reasons import CODES
from app.signals.refusals import Code, RefusalCode
from app.web.locale import Language, current

FOR_SCRIPTS = "script."  # the prefix of the keys that scripts write with


@cache
def catalogue(language: Language = "en") -> dict[str, str]:
    """Return the texts of a language by key."""
    loaded: dict[str, str] = {}
    if language == "en":
        loaded |= {key_of(code): code.english for code in CODES}
    for file in sorted(files(__name__).joinpath(language).iterdir(), key=lambda each: each.name):
        loaded |= json.loads(file.read_text("utf-8"))
    return loaded


def key_of(code: Code) -> str:
    """Return the key of a code's text."""
    return f"refusal.{code}" if isinstance(code, RefusalCode) else f"reason.{code}"


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
