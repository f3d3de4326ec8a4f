"""The headers of a delivery, as Standard Webhooks defines them (SPEC §10). Pure."""

from datetime import datetime

from standardwebhooks import Webhook


def headers(*, webhook_id: str, body: bytes, sent_at: datetime, signing_secret: str) -> dict[str, str]:
    """Return the headers to send. `sent_at` is the attempt's start, UTC; without a secret nothing is signed.

    Raises:
        UnicodeDecodeError: a body that is no UTF-8 cannot be signed.
    """
    named = {
        "content-type": "application/json",
        "accept-encoding": "identity",  # answers are kept as they come
        "user-agent": "trading-signal-processor",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
    }
    if signing_secret:
        named["webhook-signature"] = Webhook(signing_secret).sign(webhook_id, sent_at, body.decode())
    return named
