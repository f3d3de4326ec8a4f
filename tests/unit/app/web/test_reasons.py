"""Reasons are shown in the reader's language, by their code or by the pattern of their text."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import product, starmap
from string import Formatter
from typing import TYPE_CHECKING

import pytest

from app.decision.rules import ListFacts, decide
from app.orders.outcomes import reason_of
from app.orders.transport import Answer
from app.signals.alert import read_alert, read_fields
from app.signals.book import Book, BookRules, OrderTerms, PendingOrder, Position
from app.signals.reading import Intent, Quantity, Reading
from app.signals.reasons import CODES, Parameter, Reason, ReasonCode, names, stored_remarks
from app.signals.refusals import Code, RefusalCode
from app.signals.statuses import Outcome, Status
from app.web.locale import LANGUAGES, Preferences, current
from app.web.patterns import translate
from app.web.reasons import explain, render
from app.web.texts import catalogue, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SAME_IN_EVERY_LANGUAGE = {ReasonCode.HTTP_STATUS, ReasonCode.OTHER}
SAMPLES: dict[str, Parameter] = {
    "rank": 3, "size": 15, "status": 503, "seconds": "3", "ticker": "NVDA", "field": "side", "word": "x",
    "action": "buy", "side": "sell", "code": "OSError, EIO", "text": "nothing known",
    "limit": 60, "source": "desk",
    "hours": "09:30-16:00 America/New_York", "date": "2026-11-26", "time": "15:55", "count": 5, "most": 5,
    "at": 7, "why": "byte 7", "bytes": 65536, "came": "{{ticker}}", "header": "webhook-id",
    "reason": Reason(ReasonCode.POSITION_OPEN), "what": Reason(ReasonCode.SENDER_DIED),
    "kind": Reason(RefusalCode.VALUE_KIND_TEXT), "given": Reason(RefusalCode.VALUE_KIND_LIST),
    "parts": Reason(RefusalCode.VALUE_PARTS_ENTRIES),
}  # fmt: skip


_UNMATCHED = ("reject", "forward")


@pytest.fixture
def portuguese() -> Iterator[None]:
    """A reader of Portuguese."""
    token = current.set(Preferences(language="pt-BR"))
    yield
    current.reset(token)


def sample(code: Code) -> Reason:
    """A reason of this code as the application writes it."""
    return Reason(code, **{name: SAMPLES.get(name, f"X{name}") for name in names(code)})


@pytest.mark.usefixtures("portuguese")
def test_a_row_is_shown_in_the_reader_s_language() -> None:
    reason = Reason(ReasonCode.EXPIRED, reason=Reason(ReasonCode.REFUSED, what="HTTP 400"))
    shown = "venceu; por último: recusado pelo destino: HTTP 400"
    assert explain(*reason.columns()) == shown
    assert explain(str(reason), None, None) == shown
    assert explain("not in the Top-15", "rank", {"rank": 3, "size": 15}) == "fora do Top-15"
    assert explain("something nobody has written down", None, None) == "something nobody has written down"


@pytest.mark.usefixtures("portuguese")
@pytest.mark.parametrize("code", CODES)
def test_the_pattern_of_a_text_shows_what_its_code_shows(code: Code) -> None:
    reason = sample(code)
    assert translate(str(reason)) == render(reason)
    assert (render(reason) == str(reason)) is (code in SAME_IN_EVERY_LANGUAGE)


@pytest.mark.usefixtures("portuguese")
def test_what_a_sender_wrote_is_not_translated() -> None:
    reason = Reason(ReasonCode.UNKNOWN_WORD, field="action", word="restored")
    assert explain(*reason.columns()) == ("action 'restored' não é uma ação reconhecida")


def test_english_of_this_version_stays_as_it_is_stored() -> None:
    for code in CODES:
        assert explain(*sample(code).columns()) == str(sample(code))
        assert translate(str(sample(code))) == str(sample(code))
    assert explain("not in the Top-15", None, None) == "not in the Top-15"


@pytest.mark.usefixtures("portuguese")
def test_no_decision_is_left_in_english() -> None:
    readings = [Reading(intent, quantity=Quantity(Decimal(5))) for intent in Intent]
    books = [
        Book.of(position, pending)
        for position in (None, Position(Decimal(9)), Position(None, is_confirmed=False))
        for pending in ((), (PendingOrder(OrderTerms(Intent.OPEN)),))
    ]
    choices = starmap(BookRules, product(("forward", "add", "reject"), ("keep_open", "close"), _UNMATCHED))
    facts = [ListFacts(rank, 15, 1) for rank in (None, 3)]
    for reading, book, rules, known, is_expired in product(readings, books, choices, facts, (True, False)):
        decision = decide(str(reading.type), reading, book, known, rules, is_expired=is_expired)
        assert render(decision.reason) != str(decision.reason)
        for remark in stored_remarks(decision.detail):
            assert render(remark) != str(remark)
    statuses = (Status.APPROVED, Status.FAILED)
    for outcome, status in product(Outcome, statuses):
        if outcome is not Outcome.DELIVERED:
            reason = reason_of(Answer(outcome, 500), status)
            assert render(reason) != str(reason)


@pytest.mark.usefixtures("portuguese")
@pytest.mark.parametrize(
    "alert",
    [
        {"action": "short"},
        {},
        {"action": "buy", "side": "sell"},
        {"action": "hold"},
        {"action": "buy", "sentiment": "flat"},
        {"action": "buy", "prev_market_position": "short"},
        {"action": "sell", "sentiment": "short"},
        {"action": "sell", "sentiment": "long"},
        {"action": "sell", "sentiment": "long", "quantity": 0},
        {"action": "sell", "sentiment": "up", "quantity": 0, "price": "None"},
    ],
)
def test_no_reading_is_left_in_english(alert: dict[str, object]) -> None:
    body = json.dumps({"ticker": "A", **alert}).encode()
    read = read_alert(body, read_fields(body))
    shown = [(str(remark), render(remark)) for remark in read.remarks]
    if reason := read.reading.reason:
        shown.append((str(reason), render(reason)))
    assert shown
    assert [text for text, words in shown if text == words] == []


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_both_languages_and_uses_every_parameter(code: Code) -> None:
    for language in LANGUAGES:
        words = catalogue(language)[key_of(code)]
        assert {name for _, name, _, _ in Formatter().parse(words) if name} == names(code)


def test_an_earlier_text_has_what_the_text_of_today_needs() -> None:
    for code in CODES:
        for words in code.earlier:
            assert names(code) <= {name for _, name, _, _ in Formatter().parse(words) if name}, words
