"""The body of a request: which members are set, left out and added; all others stay byte for byte."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.orders.outgoing import render
from app.signals.alert import read_fields
from app.signals.reading import read

ID = UUID("11111111-2222-3333-4444-555555555555")
WORDS = {"buy", "sell", "exit", "cancel", "add"}  # the bridge's documented ones


def sent(body: str, *, order_type: str = "buy", map_action: bool = True) -> str:
    return render(body.encode(), signal_id=ID, order_type=order_type, map_action=map_action).decode()


def test_a_percentage_is_sent_in_plain_digits() -> None:
    body = '{"ticker":"AAPL","action":"sell","quantity":"5e1 %","sentiment":"long","signal_id":7}'
    assert json.loads(sent(body, order_type="sell"))["quantity"] == "50"


def test_a_complete_body_is_sent_unchanged() -> None:
    body = (
        ' {"ticker":"AAPL", "action" : "buy","signal_id": 7,"price":1.10,"sentiment":"bullish",'
        '"n":123456789012345678901234567890, "quantity":"10"} '
    )
    assert sent(body) == body
    exits = ' {"ticker":"AAPL", "action" : "exit","signal_id": 7,"price":1.10, "quantity":"10"} '
    assert sent(exits, order_type="sell") == exits


@pytest.mark.parametrize(
    "body",
    [
        r'{"\u0061ction":"hold","action":"buy","ticker":"AAPL","signal_id":7}',
        r'{"action":"hold","\u0061ction":"buy","ticker":"AAPL","signal_id":7}',
        '{"action":"hold","note":"action","action":"buy","ticker":"AAPL","signal_id":7}',
        r'{"action":"buy","ticker":"SHORT","t\u0069cker":"AAPL","signal_id":7}',
    ],
)
def test_each_value_of_a_repeated_name_is_set(body: str) -> None:
    pairs = json.loads(sent(body), object_pairs_hook=list)
    assert {value for name, value in pairs if name == "action"} == {"buy"}
    assert {value for name, value in pairs if name == "ticker"} == {"AAPL"}


@pytest.mark.parametrize("body", ["{}", "{ }", '{\n"n":{}}', '{"n":"{"}'])
def test_members_are_added_to_any_object(body: str) -> None:
    assert json.loads(sent(body)) == json.loads(body) | {"action": "buy", "signal_id": str(ID)}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            '{"ticker":"aapl ","side":"long"}',
            f'{{"ticker":"AAPL","side":"long","action":"buy","signal_id":"{ID}"}}',
        ),
        (
            '{ "side": "exit",\n  "ticker" : "\\u0041apl"\n}',
            f'{{ "side": "exit",\n  "ticker" : "AAPL","action":"exit","signal_id":"{ID}"\n}}',
        ),
        (
            '{"signal_id":null,"action":"","ticker":"AAPL"}',
            f'{{"signal_id":"{ID}","action":"exit","ticker":"AAPL"}}',
        ),
        (
            '{"ticker":"AAPL","x":{"action":"no","signal_id":1},"y":"},\\"action\\":{["}',
            (
                '{"ticker":"AAPL","x":{"action":"no","signal_id":1},"y":"},\\"action\\":{[",'
                f'"action":"exit","signal_id":"{ID}"}}'
            ),
        ),
        ("{}", f'{{"action":"exit","signal_id":"{ID}"}}'),
    ],
)
def test_missing_members_are_added(body: str, expected: str) -> None:
    assert sent(body, order_type="buy" if "long" in body else "sell") == expected


@pytest.mark.parametrize(
    ("alert", "expected"),
    [
        ('"action":"BUY"', '"action":"buy"'),
        ('"action":" Enter_Long ","quantity":5', '"action":"buy","quantity":5'),
        ('"action":"long","sentiment":"LONG"', '"action":"buy","sentiment":"long"'),
        ('"action":"buy","sentiment":"{{x}}"', '"action":"buy","sentiment":"{{x}}"'),
        ('"action":"Add","sentiment":"long","quantity":5', '"action":"add","quantity":5'),
        ('"action":"sell"', '"action":"exit"'),
        ('"action":"close_long","price":1.10', '"action":"exit","price":1.10'),
        ('"action":"sell","sentiment":"flat","quantity":"10","x":1', '"action":"exit","x":1'),
        ('"quantity":0,"action":"sell","quantityType":"fixed_quantity"', '"action":"exit"'),
        ('"action":"sell","sentiment":"short","quantity":20', '"action":"exit"'),
        ('"action":"reverse","quantity":20', '"action":"exit"'),
        ('"action":"sell","quantity":5', '"action":"exit","quantity":5'),
        ('"action":"sell","sentiment":"long","quantity":"5"', '"action":"exit","quantity":"5"'),
        (
            '"action":"sell","quantity":"50 %"',
            '"action":"exit","quantity":"50","quantityType":"percent_of_position"',
        ),
        (
            '"action":"sell","quantityType":"fixed_quantity","quantity":"50%"',
            '"action":"exit","quantityType":"percent_of_position","quantity":"50"',
        ),
        ('"action":"sell","quantity":"100%","quantityType":"x"', '"action":"exit"'),
        ('"action":"CANCEL","quantity":5', '"action":"cancel","quantity":5'),
        ('"action":"sell","action":"SELL"', '"action":"exit","action":"exit"'),
        ('"quantity":1,"action":"sell","quantity":""', '"action":"exit"'),
    ],
)
def test_the_bridge_gets_its_documented_words(alert: str, expected: str) -> None:
    start = f'{{"ticker":"AAPL","signal_id":"{ID}",'
    body = f"{start}{alert}}}"
    order_type = read(read_fields(body.encode())).type
    assert order_type is not None
    assert sent(body, order_type=order_type) == f"{start}{expected}}}"


@pytest.mark.parametrize("alert", ['"action":"CLOSE_LONG","quantity":0', '"side":"buy"', '"action":"Sell"'])
def test_without_map_action_an_alert_goes_out_as_its_sender_wrote_it(alert: str) -> None:
    body = f'{{"ticker":"AAPL",{alert},"sentiment":"FLAT","signal_id":"a"}}'
    assert sent(body, order_type="sell", map_action=False) == body


@pytest.mark.parametrize("order_type", ["manual_sell", "position_close", "sell_all"])
@pytest.mark.parametrize("map_action", [True, False])
def test_the_order_of_a_person_is_an_exit(order_type: str, *, map_action: bool) -> None:
    for body in ('{"ticker":"AAPL","action":"exit"}', '{"ticker":"AAPL","action":"sell"}'):
        assert sent(body, order_type=order_type, map_action=map_action) == (
            f'{{"ticker":"AAPL","action":"exit","signal_id":"{ID}"}}'
        )


@pytest.mark.parametrize(
    ("came", "left"), [("brk.b", "BRK.B"), (" NYSE:BRK/B", "BRK/B"), ("CME_MINI:MNQ1!", "MNQ1!")]
)
@pytest.mark.parametrize("map_action", [True, False])
def test_the_ticker_keeps_the_senders_spelling_without_the_exchange(
    came: str, left: str, *, map_action: bool
) -> None:
    body = f'{{"ticker":"{came}","action":"buy","signal_id":1}}'
    assert sent(body, map_action=map_action) == body.replace(came, left)


@pytest.mark.parametrize("body", ["[1]", '"text"', "{", '{"a":1}}'])
def test_a_body_that_is_not_an_object_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        sent(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_READ = {"ticker", "action", "side", "signal_id", "sentiment", "market_position", "quantity", "quantityType"}
_EXTRA = st.dictionaries(st.text().filter(lambda name: name not in _READ), _JSON)


@given(extra=_EXTRA, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_every_other_member_is_sent_unchanged(
    extra: dict[str, Any], *, ascii_only: bool, indent: int | None
) -> None:
    alert = {**extra, "ticker": " aapl"}
    body = json.dumps(alert, ensure_ascii=ascii_only, indent=indent)
    leaves = sent(body)
    assert json.loads(leaves) == {**extra, "ticker": "AAPL", "signal_id": str(ID), "action": "buy"}
    # byte for byte: taking our changes back gives what came
    ours = f',"action":"buy","signal_id":"{ID}"'
    assert leaves.count(ours) >= 1
    head, _, tail = leaves.rpartition(ours)
    assert (head + tail).replace('"AAPL"', '" aapl"') == body


_WORDS = [
    "",
    "buy",
    "SELL",
    "exit_long",
    "add",
    "reverse",
    "cancel",
    "long",
    "Flat",
    "short",
    "bearish",
    "hold",
]
_AMOUNTS = [
    "0",
    "-1",
    "5",
    "50%",
    "150%",
    "all",
    "percent_of_position",
    "fixed_quantity",
    None,
    True,
    0,
    -1.5,
]
_VALUES = st.sampled_from([*_WORDS, *_AMOUNTS])


@given(alert=st.dictionaries(st.sampled_from(sorted(_READ - {"ticker", "signal_id"})), _VALUES), extra=_EXTRA)
def test_no_exit_can_open_a_short_and_every_word_is_documented(
    alert: dict[str, Any], extra: dict[str, Any]
) -> None:
    whole = {**extra, **alert, "ticker": "AAPL"}
    body = json.dumps(whole)
    reading = read(read_fields(body.encode()))
    if reading.type is None:
        return
    left = json.loads(sent(body, order_type=reading.type))
    assert left["action"] in WORDS
    assert left["action"] != "sell"
    if left["action"] != "buy" and reading.intent != "adjust":
        assert "sentiment" not in left
    if reading.intent == "close":
        assert not {"quantity", "quantityType"} & left.keys()
    changed = {"action", "sentiment", "quantity", "quantityType", "signal_id"}
    assert {name: left[name] for name in left.keys() - changed} == {
        name: whole[name] for name in whole.keys() - changed
    }
