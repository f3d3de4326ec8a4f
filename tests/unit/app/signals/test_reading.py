"""What an alert asks for, row by row: words, sentiment, quantity, remarks."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.signals.alert import read_fields
from app.signals.reading import Reading, read

NO_SHORT = "closes the long position; no short is opened"
ENTRIES = ["buy", "long", "enter", "enter_long", "buy_to_open"]
EXITS = ["sell", "exit", "close", "flat", "flatten", "exit_long", "close_long", "sell_to_close"]
SHORTS = ["short", "sell_short", "enter_short", "cover", "buy_to_cover", "exit_short"]


def reading(**alert: object) -> Reading:
    """Read an alert with these fields."""
    return read(read_fields(json.dumps(alert).encode()))


def texts(remarks: tuple[object, ...]) -> tuple[str, ...]:
    """The English texts of remarks."""
    return tuple(map(str, remarks))


@pytest.mark.parametrize(
    ("words", "intent", "signal_type"),
    [
        (ENTRIES, "open", "buy"),
        (["add"], "add", "buy"),
        (EXITS, "close", "sell"),
        (["reverse"], "close", "sell"),
        (["cancel", "breakeven"], "adjust", "sell"),
    ],
)
def test_words(words: list[str], intent: str, signal_type: str) -> None:
    for word, field in product(words, ("action", "side")):
        for spelled in (word, word.upper(), word.title(), f" {word}\n", word.replace("_", " ")):
            found = reading(**{field: spelled})
            assert (found.intent, found.type, found.reason) == (intent, signal_type, None)


@pytest.mark.parametrize("word", SHORTS)
def test_short_words_are_rejected(word: str) -> None:
    for alert in ({"action": word}, {"side": word.upper()}, {"action": "sell", "side": f" {word}"}):
        found = reading(**alert)
        assert (found.intent, found.type) == (None, None)
        assert str(found.reason).endswith(f" is '{word}': short selling is not supported")


@pytest.mark.parametrize(
    ("action", "side", "reason"),
    [
        ("buy", "sell", "action 'buy' contradicts side 'sell'"),
        ("long", "exit", "action 'long' contradicts side 'exit'"),
        (None, None, "neither action nor side says buy or sell"),
        (" ", "", "neither action nor side says buy or sell"),
        ("Hold", "buy", "action 'hold' is not a known action"),
        ("{{strategy.order.action}}", None, "action '{{strategy.order.action}}' is not a known action"),
        (None, 5, "side '5' is not a known action"),
        (True, None, "action 'true' is not a known action"),
        ("b\0y", None, "action 'b\N{REPLACEMENT CHARACTER}y' is not a known action"),
        ("x" * 500, None, f"action '{'x' * 40}' is not a known action"),
    ],
)
def test_an_alert_that_asks_for_nothing_has_a_reason(action: object, side: object, reason: str) -> None:
    found = reading(action=action, side=side)
    assert (found.intent, found.type) == (None, None)
    assert str(found.reason).startswith(reason)


@pytest.mark.parametrize(
    ("action", "side", "intent"),
    [("sell", "long", "close"), ("buy", "long", "open"), ("", "sell", "close"), ("sell", "flat", "close")],
)
def test_action_decides_before_side(action: str, side: str, intent: str) -> None:
    assert reading(action=action, side=side).intent == intent


@pytest.mark.parametrize("field", ["sentiment", "market_position"])
@pytest.mark.parametrize(
    ("action", "position", "intent", "remarks"),
    [
        ("buy", "long", "open", ()),
        ("buy", "Bullish", "open", ()),
        ("add", "long", "add", ()),
        ("buy", "flat", None, ()),
        ("buy", "short", None, ()),
        ("add", "bearish", None, ()),
        ("sell", " FLAT ", "close", ()),
        ("exit", "flat", "close", ()),
        ("sell", "short", "close", (NO_SHORT,)),
        ("sell", "bearish", "close", (NO_SHORT,)),
        ("reverse", "short", "close", (NO_SHORT,)),
        ("reverse", "", "close", (NO_SHORT,)),
        ("sell", "long", "reduce", ()),
        ("exit", "bullish", "reduce", ()),
        ("sell", "", "reduce_or_close", ()),
    ],
)
def test_the_position_after_the_order_decides(
    action: str, position: str, intent: str | None, remarks: tuple[str, ...], field: str
) -> None:
    found = reading(action=action, quantity=5, **{field: position})
    assert (found.intent, texts(found.remarks)) == (intent, remarks)
    covers = "would cover a short position, and short positions are not supported"
    assert str(found.reason or "") == ("" if intent else covers)


def test_sentiment_comes_before_market_position_unless_it_cannot_be_read() -> None:
    assert reading(action="buy", sentiment="long", market_position="flat").intent == "open"
    found = reading(action="sell", sentiment="{{strategy.market_position}}", market_position="flat")
    assert found.intent == "close"
    assert texts(found.remarks) == (
        "sentiment '{{strategy.market_position}}' is not long, short or flat: not used",
    )


def test_an_entry_out_of_a_short_carries_a_warning() -> None:
    found = reading(action="buy", sentiment="long", prev_market_position="short", quantity=20)
    assert (found.intent, texts(found.remarks)) == ("open", ("the quantity may include covering a short",))
    assert reading(action="buy", sentiment="long", prev_market_position="flat").remarks == ()


@pytest.mark.parametrize(
    ("quantity", "quantity_type", "intent"),
    [
        (None, None, "close"),
        ("", None, "close"),
        (5, None, "reduce_or_close"),
        ("5", "fixed_quantity", "reduce_or_close"),
        (0.5, "dollar_amount", "reduce_or_close"),
        ("50%", None, "reduce"),
        (" 50 %", "fixed_quantity", "reduce"),
        (50, "percent_of_position", "reduce"),
        ("99.9", "Percent_Of_Position", "reduce"),
        ("100%", None, "close"),
        (100, "percent_of_position", "close"),
        (250, "percent_of_position", "close"),
    ],
)
def test_quantities_without_sentiment(quantity: object, quantity_type: str | None, intent: str) -> None:
    found = reading(action="sell", quantity=quantity, quantityType=quantity_type)
    assert (found.intent, found.remarks) == (intent, ())


@pytest.mark.parametrize("quantity", [0, "0", -1, "-5", "0%", "-3%", "%", "all", True, [5], "1e999"])
def test_a_quantity_that_sells_nothing_closes_or_is_rejected(quantity: object) -> None:
    written = quantity if isinstance(quantity, str) else json.dumps(quantity)
    what = f"quantity '{written}' is not a number above 0"
    found = reading(action="sell", quantity=quantity)
    assert (found.intent, texts(found.remarks)) == ("close", (f"{what}: closes the whole position",))
    found = reading(action="sell", quantity=quantity, sentiment="long")
    assert (found.intent, str(found.reason)) == (None, f"{what}, and the position should stay open")
    assert reading(action="sell", quantity=quantity, sentiment="flat").intent == "close"


def test_an_exit_that_stays_long_without_a_quantity_closes() -> None:
    found = reading(action="sell", sentiment="long")
    assert (found.intent, len(found.remarks)) == ("close", 1)


@pytest.mark.parametrize(
    ("alert", "stored"),
    [
        ({"action": "buy"}, "open"),
        ({"action": "sell", "quantity": 5}, "reduce_or_close"),
        ({"action": "hold"}, "unread"),
        ({}, "unread"),
        ({"action": "buy", "side": "sell"}, "unread"),
        ({"action": "sell", "sentiment": "long", "quantity": 0}, "unread"),
        ({"action": "cover"}, None),
        ({"action": "sell", "side": "short"}, None),
        ({"action": "buy", "sentiment": "flat"}, None),
    ],
)
def test_what_may_have_been_an_exit_is_stored_as_unread(alert: dict[str, object], stored: str | None) -> None:
    assert reading(**alert).stored_intent == stored


_ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
_FIELDS = (
    "action",
    "side",
    "sentiment",
    "market_position",
    "prev_market_position",
    "quantity",
    "quantityType",
)


@given(alert=st.dictionaries(st.sampled_from(_FIELDS), _ANYTHING | st.sampled_from([*ENTRIES, *EXITS])))
def test_anything_is_read_with_an_intent_or_a_reason(alert: dict[str, object]) -> None:
    found = read({name: json.dumps(value).encode() for name, value in alert.items()})
    assert (found.intent is None) == bool(found.reason)
    assert "\0" not in "".join(map(str, (found.reason, *found.remarks)))


def test_long_values_are_read_as_well() -> None:
    long = b'"' + b" " * 1_000 + b'sell"'
    assert read({"action": long}) == read({"action": b'"sell"'})
