"""Who may see `/admin`: the token, and the signed session that stands for it (SPEC §14)."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from itsdangerous import BadSignature, URLSafeTimedSerializer

COOKIE = "tsp_session"
LIFETIME_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Access:
    """A visitor who proved to know the token; both are None for a bearer token, which never ends."""

    session: str | None = None
    seconds_left: float | None = None


class Sessions:
    """Issues and reads session cookies, signed with a key derived from ADMIN_TOKEN.

    Nothing is stored: a session survives a restart, and ends after 12 hours or with a new token.
    """

    def __init__(self, admin_token: str) -> None:
        self._token = admin_token.encode()
        self._serializer = URLSafeTimedSerializer(
            self._token,
            salt="admin session",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    @property
    def possible(self) -> bool:
        """False while ADMIN_TOKEN is empty: then nobody gets in, whatever they offer."""
        return bool(self._token)

    def token_matches(self, offered: str) -> bool:
        """Compare in constant time."""
        return self.possible and hmac.compare_digest(offered.encode(), self._token)

    def issue(self) -> str:
        """Return the cookie value of a new session."""
        return self._serializer.dumps(secrets.token_urlsafe(9))

    def read(self, cookie: str) -> Access | None:
        """Return whose session it is, or None: forged, too old, or of another token."""
        if not self.possible:
            return None
        try:
            session, issued = self._serializer.loads(cookie, max_age=LIFETIME_SECONDS, return_timestamp=True)
        except BadSignature:
            return None
        return Access(str(session), LIFETIME_SECONDS - (datetime.now(UTC) - issued).total_seconds())
