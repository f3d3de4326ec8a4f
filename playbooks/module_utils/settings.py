"""The text of .env, made from .env.example: for the modules in playbooks/library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECRETS = ("POSTGRES_PASSWORD", "ADMIN_TOKEN", "WEBHOOK_SECRET")


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
