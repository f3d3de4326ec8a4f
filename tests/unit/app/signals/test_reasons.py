"""A reason is stored and read back without loss; a code whose text differs from the row's text is ignored."""

from __future__ import annotations

import json

import pytest

from app.signals.reasons import (
    REMARK_CODES,
    Reason,
    ReasonCode,
    names,
    remark_details,
    stored_reason,
    stored_remarks,
)

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
    assert str(TOO_OLD) == ("expired; last: refused: connection refused (ClientConnectorError, ECONNREFUSED)")


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
def test_a_code_whose_text_differs_from_the_row_is_ignored(code: str | None, params: object) -> None:
    text = "refused: HTTP 400"
    assert stored_reason(text, code, params) == Reason(ReasonCode.OTHER, text=text)  # type: ignore[arg-type]


def test_a_reason_in_a_parameter_that_holds_none_is_not_read() -> None:
    """Three at each level have more texts than can be compared: 20 s for a remark of 1.5 KB."""
    inner = Reason(ReasonCode.UNKNOWN_WORD, field="a", word="b")
    outer = Reason(ReasonCode.REPROCESSED, ticker=inner, rank=inner, size=inner)
    assert stored_reason(*outer.columns()) == Reason(ReasonCode.OTHER, text=str(outer))


HOSTILE = {"code": "expired", "params": {"reason": {"code": ["x"], "params": {}}}}


@pytest.mark.parametrize(
    "codes",
    [
        None,
        "remark.price",
        [],
        [7],
        [{}],
        [{"code": []}],
        [{"code": "of_a_later_version", "params": {}}],
        [{"code": "remark.price", "params": {"word": "other"}}],  # its text differs from the row's
        [HOSTILE],
    ],
)
def test_a_remark_without_a_matching_code_is_shown_as_its_text(codes: object) -> None:
    text = "price 'None' is not a number: not used"
    known = stored_remarks({"remarks": [text], REMARK_CODES: codes})
    assert known == [Reason(ReasonCode.OTHER, text=text)]


def test_remarks_are_read_back_from_an_event_s_details() -> None:
    remarks = [Reason(ReasonCode.REMARK_PRICE, word="None"), Reason(ReasonCode.REMARK_NO_SHORT)]
    stored = json.loads(json.dumps(remark_details(remarks)))
    assert stored_remarks(stored) == remarks
    assert stored["remarks"] == [str(remark) for remark in remarks]  # for an export, and the version before
    assert stored_remarks({}) == []
    assert remark_details([]) == {}


def test_reasons_within_reasons_are_bounded() -> None:
    deep: object = {"code": "delivered", "params": {}}
    for _ in range(30):  # as an imported file may have it: each level doubles the texts to compare with
        deep = {"code": "expired", "params": {"reason": deep}}
    assert stored_remarks({"remarks": ["x"], REMARK_CODES: [deep]}) == [Reason(ReasonCode.OTHER, text="x")]
