"""The last safety net against a secret on the screen: exact values of the local `.env` are replaced.

Roles keep secrets out of results with `no_log`; this catches what a program prints by itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MASK = "********"
_SECRET_NAME = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|AUTH|URL)$", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
_SHORTEST = 8  # a shorter value is more likely an ordinary word of the output


def secret_values(pairs: Mapping[str, Any]) -> set[str]:
    """Values worth hiding: 8 characters or more, of a TOKEN, SECRET, PASSWORD, AUTH or URL."""
    return {
        str(value)
        for name, value in pairs.items()
        if _SECRET_NAME.search(name) and len(str(value)) >= _SHORTEST and isinstance(value, str)
    }


def read_env(path: Path) -> dict[str, str]:
    """The assignments of a `.env`, none if it cannot be read. Only for masking: compose parses it."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        if match := _ASSIGNMENT.match(line):
            name, value = match.groups()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name] = value[1:-1] if quoted else value.partition(" #")[0].rstrip()
    return found


class Mask:
    """Replaces known secret values in text and in JSON-like structures."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self.secrets = frozenset(secrets)
        longest_first = sorted(self.secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def text(self, text: str) -> str:
        """`text` with every known secret replaced by asterisks."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def tree(self, value: Any) -> Any:  # noqa: ANN401 - any JSON value in, the same shape out
        """The same for every string inside dicts and lists."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.tree(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.tree(item) for item in value]
        return value
