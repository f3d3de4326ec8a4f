"""Every word the page shows, by key, one JSON file per language."""

import json
from functools import cache
from importlib.resources import files


@cache
def catalogue(language: str = "en") -> dict[str, str]:
    """The texts of a language by key."""
    loaded: dict[str, str] = json.loads(files(__name__).joinpath(f"{language}.json").read_text("utf-8"))
    return loaded


def text(key: str, **values: object) -> str:
    """One text with its `{places}` filled.

    Raises:
        KeyError: no such key, or a place without a value.
    """
    return catalogue()[key].format(**values)
