"""Recognise the webhook's paths and check the webhook secret. Pure; secrets are compared in constant time."""

import hmac
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from hashlib import sha256
from urllib.parse import unquote_to_bytes

PATH = "/webhook/in"
_SECRET_PREFIX = f"{PATH}/"
_OTHER_ROUTES = frozenset({"admin", "docs", "health", "openapi.json", "static", "ws"})
_WORD, _LEAST_SIMILARITY, _LONGEST_WORD = "webhook", 0.8, 20
_NOT_A_LETTER = re.compile(r"[^a-z]")


def secret_in_path(path: str, raw_path: bytes) -> bytes | None:
    """Return what follows `/webhook/in/`, still percent-encoded; None if the path is not the webhook's.

    A trailing slash is not part of the path. A slash in a secret must be sent as `%2F`.
    """
    if path == PATH:
        return b""
    if not path.startswith(_SECRET_PREFIX):
        return None
    prefix = _SECRET_PREFIX.encode()
    whole = raw_path if raw_path.startswith(prefix) else path.encode()
    rest = whole[len(prefix) :]
    return None if b"/" in rest.rstrip(b"/") else rest


def secrets_in(path_rest: bytes, query: bytes) -> Iterator[bytes]:
    """Yield every candidate for the secret in a path and a query, percent-decoded and as it was sent."""
    if path_rest:
        for text in {path_rest.rstrip(b"/"), path_rest} - {b""}:
            yield from _decodings(text)
    if b"secret" in query or b"%" in query:
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            if unquote_to_bytes(name) == b"secret":
                yield from _decodings(value)
                yield unquote_to_bytes(value.replace(b"+", b" "))


def _decodings(text: bytes) -> Iterator[bytes]:
    yield text
    yield unquote_to_bytes(text)


def is_misspelt(path: str, method: str) -> bool:
    """Return whether a path resembles the webhook's but is not it: case, spelling or slashes differ.

    A POST to `/` counts too: people often enter an address without a path at first.
    """
    parts = [part for part in path.lower().split("/") if part][:3]
    if not parts:
        return method == "POST"
    return parts[0] not in _OTHER_ROUTES and any(map(_is_like_webhook, parts))


def _is_like_webhook(part: str) -> bool:
    word = _NOT_A_LETTER.sub("", part[:_LONGEST_WORD])
    return "hook" in word or SequenceMatcher(None, word, _WORD).ratio() >= _LEAST_SIMILARITY


class WebhookSecret:
    """The configured secret; with an empty one every post is authenticated."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._digest = sha256(self._secret).digest()

    @property
    def is_empty(self) -> bool:
        """Whether no secret is required."""
        return not self._secret

    def matches(self, candidate: bytes | None) -> bool:
        """Compare digests, so that the time reveals neither the length nor a common prefix."""
        return candidate is not None and hmac.compare_digest(sha256(candidate).digest(), self._digest)

    def mask(self, text: bytes) -> bytes:
        """Replace the secret wherever it occurs, for bodies that are kept although they cannot be parsed."""
        return text.replace(self._secret, b"***") if self._secret else text
