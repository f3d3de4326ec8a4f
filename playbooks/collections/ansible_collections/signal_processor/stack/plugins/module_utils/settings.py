"""The text of .env, made from .env.example: for the modules in the collection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

VOLUME = re.compile(
    r"^[ \t]*(?:export[ \t]+)?POSTGRES_VOLUME[ \t]*=[ \t]*(.*?)(?:[ \t]+#.*)?[ \t\r]*$", re.MULTILINE
)
SECRETS = ("POSTGRES_PASSWORD", "ADMIN_TOKEN", "WEBHOOK_SECRET")


def volume_name(folder: str | Path, default: str) -> str:
    """Return the name of the database's volume that the .env of a folder gives, else `default`.

    Read without compose, which stops at any mistake in the file: `--stop` and a diagnosis must not. Flows
    that have compose read the file compare (`definition_facts`).
    """
    try:
        text = Path(folder, ".env").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return default
    found = VOLUME.findall(text)
    return (found[-1].strip("'\"") if found else "") or default


def unix(text: str) -> str:
    """Return the text with the line endings that .env has, whatever those of the checkout are."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def filled(template: str, make: Callable[[], str]) -> str:
    """Return the template with a value for each secret that is empty in it.

    Raises ValueError where a secret would be missing or empty, or stand there twice.
    """
    text = unix(template)
    for name in SECRETS:
        lines = re.findall(rf"^[ \t]*{name}[ \t]*=.*$", text, re.MULTILINE)
        if len(lines) != 1:
            found = "no line" if not lines else f"{len(lines)} lines"
            raise ValueError(f"it has {found} {name}=, and one is needed")
        text = re.sub(
            rf"""^[ \t]*{name}[ \t]*=[ \t]*(?:""|'')?[ \t]*(?:#.*)?$""",
            lambda _, name=name: f"{name}={make()}",  # type: ignore[misc]  # a default is how a loop binds
            text,
            flags=re.MULTILINE,
        )
    return text
