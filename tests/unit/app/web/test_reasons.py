"""Reasons are told in the reader's language, whatever code they come from."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING

import pytest

from app.decision.rules import DuplicateBuys, TickerFacts, decide
from app.orders.outcomes import reason_of
from app.orders.transport import Answer
from app.signals.alert import read_alert, read_fields
from app.signals.statuses import Outcome, Status
from app.web.locale import Preferences, current
from app.web.reasons import translate

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def portuguese() -> Iterator[None]:
    """A reader of Portuguese."""
    token = current.set(Preferences(language="pt-BR"))
    yield
    current.reset(token)


@pytest.mark.usefixtures("portuguese")
def test_a_reason_is_told_in_the_reader_s_language() -> None:
    assert translate("not in the Top-15") == "fora do Top-15"
    assert translate("too old; last: the destination refused it: HTTP 400") == (
        "venceu; por último: o destino recusou: HTTP 400"
    )
    assert translate("something nobody has written down") == "something nobody has written down"


@pytest.mark.usefixtures("portuguese")
@pytest.mark.parametrize("order_type", ["buy", "sell", "manual_sell"])
def test_no_decision_is_left_in_english(order_type: str) -> None:
    facts = [
        TickerFacts(
            rank=rank, list_size=15, list_age_seconds=1, is_open=is_open, has_pending_buy=has_pending_buy
        )
        for rank in (None, 3)
        for is_open in (True, False)
        for has_pending_buy in (True, False)
    ]
    policies: tuple[DuplicateBuys, ...] = ("forward", "reject")
    for known, is_expired, policy in product(facts, (True, False), policies):
        reason = decide(order_type, known, is_expired=is_expired, duplicate_buys=policy).reason
        assert translate(reason) != reason
    statuses = (Status.APPROVED, Status.FAILED)
    for outcome, status in product(Outcome, statuses):
        if outcome is not Outcome.DELIVERED:
            reason = reason_of(Answer(outcome, 500), status)
            assert translate(reason) != reason


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
    texts = [text for text in (read.reading.reason, *read.remarks) if text]
    assert texts
    assert [text for text in texts if translate(text) == text] == []


def test_english_stays_as_it_was_kept() -> None:
    assert translate("not in the Top-15") == "not in the Top-15"
