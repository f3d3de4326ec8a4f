"""The request body: which members are set and added, and that all others stay byte for byte."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from app.orders.transport import has_quantity, make_headers, render

ID = UUID("11111111-2222-3333-4444-555555555555")


def sent(body: str, *, ticker: str = "AAPL", order_type: str = "buy", map_action: bool = True) -> str:
    return render(
        body.encode(), signal_id=ID, ticker=ticker, order_type=order_type, map_action=map_action
    ).decode()


def test_a_complete_body_is_sent_unchanged() -> None:
    body = (
        ' {"ticker":"AAPL", "action" : "BUY","signal_id": 7,"price":1.10,"n":123456789012345678901234567890} '
    )
    assert sent(body) == body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            '{"ticker":"aapl ","side":"long"}',
            f'{{"ticker":"AAPL","side":"long","signal_id":"{ID}","action":"buy"}}',
        ),
        (
            '{ "side": "exit",\n  "ticker" : "\\u0041apl"\n}',
            f'{{ "side": "exit",\n  "ticker" : "AAPL","signal_id":"{ID}","action":"sell"\n}}',
        ),
        (
            '{"signal_id":null,"action":"","ticker":"AAPL"}',
            f'{{"signal_id":"{ID}","action":"sell","ticker":"AAPL"}}',
        ),
        (
            '{"ticker":"AAPL","x":{"action":"no","signal_id":1},"y":"},\\"action\\":{["}',
            (
                '{"ticker":"AAPL","x":{"action":"no","signal_id":1},"y":"},\\"action\\":{[",'
                f'"signal_id":"{ID}","action":"sell"}}'
            ),
        ),
        ("{}", f'{{"signal_id":"{ID}","action":"sell"}}'),
    ],
)
def test_missing_members_are_added(body: str, expected: str) -> None:
    assert sent(body, order_type="buy" if "long" in body else "sell") == expected


def test_no_action_is_added_without_map_action() -> None:
    assert sent('{"ticker":"AAPL","side":"buy","signal_id":"a"}', map_action=False) == (
        '{"ticker":"AAPL","side":"buy","signal_id":"a"}'
    )


@pytest.mark.parametrize("body", ["[1]", '"text"', "{", '{"a":1}}'])
def test_a_body_that_is_not_an_object_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        sent(body)


@pytest.mark.parametrize(
    ("body", "said"),
    [(b'{"quantity":5}', True), (b'{"quantity":null}', False), (b'{"x":{"quantity":5}}', False)],
)
def test_a_quantity_is_seen(body: bytes, *, said: bool) -> None:
    assert has_quantity(body) is said


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_EXTRA = st.dictionaries(st.text().filter(lambda name: name not in {"ticker", "action", "signal_id"}), _JSON)


@given(extra=_EXTRA, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_every_other_member_is_sent_unchanged(
    extra: dict[str, Any], *, ascii_only: bool, indent: int | None
) -> None:
    alert = {**extra, "ticker": " aapl"}
    body = json.dumps(alert, ensure_ascii=ascii_only, indent=indent)
    leaves = sent(body)
    assert json.loads(leaves) == {**extra, "ticker": "AAPL", "signal_id": str(ID), "action": "buy"}
    # byte for byte: taking our changes back gives what came
    ours = f',"signal_id":"{ID}","action":"buy"'
    assert leaves.count(ours) >= 1
    head, _, tail = leaves.rpartition(ours)
    assert (head + tail).replace('"AAPL"', '" aapl"') == body


def test_the_headers_are_those_of_standard_webhooks() -> None:
    secret, moment = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", datetime.now(UTC)
    body = '{"ticker":"AAPL","note":"é"}'.encode()
    signed = make_headers(webhook_id=f"{ID}.r2", body=body, sent_at=moment, signing_secret=secret)
    assert signed["webhook-id"] == f"{ID}.r2"
    assert Webhook(secret).verify(body, signed) == json.loads(body)
    unsigned = make_headers(webhook_id=str(ID), body=body, sent_at=moment, signing_secret="")
    assert "webhook-signature" not in unsigned
    assert unsigned["webhook-timestamp"] == str(int(moment.timestamp()))
