"""Who may post (SPEC §8): the secret, wherever it was presented, is compared in constant time. Pure."""

import hmac
from hashlib import sha256


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
