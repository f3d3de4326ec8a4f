"""Which paths are the webhook, which were meant to be, and the secret in an address. Pure."""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from urllib.parse import unquote_to_bytes

PATH = "/webhook/in"
_BEFORE_SECRET = f"{PATH}/"
_OURS = frozenset({"admin", "docs", "health", "openapi.json", "static", "ws"})
_WORD, _ALIKE, _LONGEST_WORD = "webhook", 0.8, 20
_NOT_A_LETTER = re.compile(r"[^a-z]")


def secret_in_path(path: str, raw_path: bytes) -> bytes | None:
    """Return what follows `/webhook/in/` as it was sent; None if the path is not the webhook's.

    A slash at the end is no part of the path, and a slash within a secret is sent as `%2F`.
    """
    if path == PATH:
        return b""
    if not path.startswith(_BEFORE_SECRET):
        return None
    before = _BEFORE_SECRET.encode()
    whole = raw_path if raw_path.startswith(before) else path.encode()
    rest = whole[len(before) :]
    return None if b"/" in rest.rstrip(b"/") else rest


def secrets_in(path_rest: bytes, query: bytes) -> Iterator[bytes]:
    """Yield every reading of the secrets in a path and a query: encoded, or typed in as they are."""
    if path_rest:
        for text in {path_rest.rstrip(b"/"), path_rest} - {b""}:
            yield from _readings(text)
    if b"secret" in query or b"%" in query:
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            if unquote_to_bytes(name) == b"secret":
                yield from _readings(value)
                yield unquote_to_bytes(value.replace(b"+", b" "))


def _readings(text: bytes) -> Iterator[bytes]:
    yield text
    yield unquote_to_bytes(text)


def is_misspelt(path: str, method: str) -> bool:
    """Whether a path that is not the webhook's was meant to be it: other letters, words or slashes.

    A post to `/` counts: an address without a path is what people type first.
    """
    parts = [part for part in path.lower().split("/") if part][:3]
    if not parts:
        return method == "POST"
    return parts[0] not in _OURS and any(map(_is_like_webhook, parts))


def _is_like_webhook(part: str) -> bool:
    word = _NOT_A_LETTER.sub("", part[:_LONGEST_WORD])
    return "hook" in word or SequenceMatcher(None, word, _WORD).ratio() >= _ALIKE
