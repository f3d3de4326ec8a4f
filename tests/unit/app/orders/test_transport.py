"""Headers of a request to the destination."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

from standardwebhooks import Webhook

from app.orders.transport import make_headers

ID = UUID("11111111-2222-3333-4444-555555555555")


def test_the_headers_are_those_of_standard_webhooks() -> None:
    secret, moment = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", datetime.now(UTC)
    body = '{"ticker":"AAPL","note":"é"}'.encode()
    signed = make_headers(webhook_id=f"{ID}.r2", body=body, sent_at=moment, signing_secret=secret)
    assert signed["webhook-id"] == f"{ID}.r2"
    assert Webhook(secret).verify(body, signed) == json.loads(body)
    unsigned = make_headers(webhook_id=str(ID), body=body, sent_at=moment, signing_secret="")
    assert "webhook-signature" not in unsigned
    assert unsigned["webhook-timestamp"] == str(int(moment.timestamp()))
