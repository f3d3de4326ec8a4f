"""The last safety net before the screen: secrets of the local `.env` are masked, control characters escaped.

Roles keep secrets out of results with `no_log`; this catches what a program prints by itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MASK = "********"
_SECRET_NAME = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|AUTH|URLS?)$", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
_NOT_PLAIN = re.compile(r"[^\n\t\x20-\x7e]")
_REFERENCE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_SHORTEST = 8  # a shorter value is more likely an ordinary word of the output


def printable(text: str) -> str:
    """Return the text with what a terminal would obey, or hide from the reader, written as `\\uXXXX`.

    These are control characters (ESC and C1 among them), bidi controls, invisible characters and foreign line
    separators. Newlines and tabs stay. The escapes are those of JSON, so a JSON document keeps its meaning.
    """
    return _NOT_PLAIN.sub(_escape, text.replace("\r\n", "\n"))


def _escape(found: re.Match[str]) -> str:
    if found[0].isprintable():
        return found[0]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def secret_values(pairs: Mapping[str, Any]) -> set[str]:
    """Values worth hiding: 8 characters or more, of a TOKEN, SECRET, PASSWORD, AUTH or URL; of URLS each."""
    secrets: set[str] = set()
    for name, value in pairs.items():
        if isinstance(value, str) and (found := _SECRET_NAME.search(name)):
            secrets |= {value, *(value.split() if found[2].upper() == "URLS" else ())}
    return {secret for secret in secrets if len(secret) >= _SHORTEST}


def read_env(path: Path) -> dict[str, str]:
    """Return the assignments of a `.env` with references resolved; none if it cannot be read.

    Only for messages: compose parses it. So advice that shows how to write a reference counts as no secret.
    """
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        if match := _ASSIGNMENT.match(line):
            name, value = match.groups()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            literal = quoted and value[0] == "'"
            value = value[1:-1] if quoted else value.partition(" #")[0].rstrip()
            found[name] = value if literal else _resolved(value, found)
    return found


def local_secrets(checkout: Path, *, backups: bool) -> set[str]:
    """Return the secrets of `.env`, and of its backups where one of these may come back."""
    files = [checkout / ".env", *(checkout.glob("backups/*/.env") if backups else ())]
    return set().union(*(secret_values(read_env(file)) for file in files))


def _resolved(value: str, known: Mapping[str, str]) -> str:
    """Return the value with `$NAME`, `${NAME}` and `${NAME:-default}` replaced as compose does."""
    return _REFERENCE.sub(lambda match: known.get(match[1] or match[3] or "") or match[2] or "", value)


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
