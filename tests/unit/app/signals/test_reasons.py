"""A reason survives its columns, and a code that does not say the row's text does not count."""

from __future__ import annotations

import json

import pytest

from app.signals.reasons import Reason, ReasonCode, names, stored_reason

WHAT = Reason(ReasonCode.CONNECTION_REFUSED, code="ClientConnectorError, ECONNREFUSED")
REFUSED = Reason(ReasonCode.REFUSED, what=WHAT)
TOO_OLD = Reason(ReasonCode.EXPIRED, reason=REFUSED)


def reason_of(code: ReasonCode) -> Reason:
    """A reason of this code, with a value for each name."""
    return Reason(code, **{name: 7 if name == "size" else "<{}>" for name in names(code)})


@pytest.mark.parametrize("reason", [*map(reason_of, ReasonCode), TOO_OLD])
def test_a_reason_is_read_back_from_its_columns(reason: Reason) -> None:
    text, code, params = reason.columns()
    assert stored_reason(text, code, json.loads(json.dumps(params))) == reason


def test_the_english_text_has_the_texts_of_inner_reasons() -> None:
    assert str(TOO_OLD) == (
        "too old; last: the destination refused it: connection refused (ClientConnectorError, ECONNREFUSED)"
    )


@pytest.mark.parametrize(
    ("code", "params"),
    [
        (None, None),
        ("of_a_later_version", {}),
        ("refused", None),
        ("refused", {}),
        ("refused", {"what": None}),
        ("refused", {"what": {"code": "of_a_later_version", "params": {}}}),
        ("refused", {"what": "HTTP 400", "more": 1}),
        ("rank", {"rank": 3, "size": 15}),  # an earlier version has set the text
        ("delivered", {}),
    ],
)
def test_a_row_whose_code_does_not_say_its_text_is_its_text(code: str | None, params: object) -> None:
    text = "the destination refused it: HTTP 400"
    assert stored_reason(text, code, params) == Reason(ReasonCode.OTHER, text=text)  # type: ignore[arg-type]
