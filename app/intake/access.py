"""Which paths are the webhook, which were meant to be, and who may post. Pure.

The secret, wherever it was presented, is compared in constant time.
"""

import hmac
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from hashlib import sha256
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


class WebhookSecret:
    """The configured secret; an empty one lets everybody post."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._digest = sha256(self._secret).digest()

    @property
    def is_open(self) -> bool:
        """Whether no secret is asked for."""
        return not self._secret

    def matches(self, candidate: bytes | None) -> bool:
        """Compare through digests: the time taken tells neither the length nor a common beginning."""
        return candidate is not None and hmac.compare_digest(sha256(candidate).digest(), self._digest)

    def masked(self, text: bytes) -> bytes:
        """Blot out the secret wherever it stands, for posts that are kept though they could not be parsed."""
        return text.replace(self._secret, b"***") if self._secret else text
