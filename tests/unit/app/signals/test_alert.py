"""Parsing alerts: what is accepted, what is refused, and which bytes stay the same."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.signals.alert import BadAlertError, digest, read_alert, read_fields, spell_ticker, trim

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
_TICKERS = st.from_regex(r"[A-Za-z0-9.-]{1,20}", fullmatch=True)


def _encode(value: object, indent: int | None) -> bytes:
    # json writes lone surrogates, which every strict parser refuses
    return json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "replace")


@given(
    fields=st.dictionaries(st.text(max_size=8), _JSON, max_size=6),
    ticker=_TICKERS,
    indent=st.none() | st.integers(0, 3),
)
def test_any_object_with_a_ticker_is_an_alert(
    fields: dict[str, object], ticker: str, indent: int | None
) -> None:
    fields = {**fields, "ticker": f"  {ticker} "}
    fields.pop("secret", None)
    body = _encode(fields, indent)

    alert = read_alert(body, read_fields(body))

    assert alert.ticker == ticker.upper().replace(".", "-")
    assert alert.body == body


@given(body=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_anything_else_is_refused_and_names_the_field(body: bytes) -> None:
    with pytest.raises(BadAlertError, match=r"^(body|ticker): "):
        read_alert(body, read_fields(body))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: not valid JSON (byte 0)"),
        (b"[1]", "body: must be a JSON object"),
        (b"null", "body: must be a JSON object"),
        (b'{"ticker": "A"', "body: not valid JSON (byte 14)"),
        (b'{"ticker": "A"} {}', "body: not valid JSON (byte 17)"),
        (b'{"ticker": "A", "x": "\\ud800"}', "body: not valid JSON"),
        (b'{"ticker": "A", "x": "\xff"}', "body: not UTF-8"),
        (b'{"ticker": "A", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "body: nested too deeply"),
        (b"{}", "ticker: missing"),
        (b'{"ticker": null}', "ticker: missing"),
        (b'{"ticker": 5}', "ticker: 5 is not a valid ticker: use a text of 1 to 40 printable characters"),
        (b'{"ticker": ""}', 'ticker: "" is not a valid ticker'),
        (b'{"ticker": "NASDAQ:"}', 'ticker: "NASDAQ:" is not a valid ticker'),
        (b'{"ticker": "A\\u0000"}', 'ticker: "A\\u0000" is not a valid ticker'),
        ('{"ticker": "A\u202eB"}'.encode(), 'ticker: "A\u202eB" is not a valid ticker'),
        (b'{"ticker": "%b"}' % (b"A" * 41), 'ticker: "AAAA'),
        (b'{"ticker": "{{ticker}}"}', 'ticker: "{{ticker}}" is a placeholder that was not filled in'),
        (b'{"ticker": "{{exchange}}:{{ticker}}"}', 'ticker: "{{exchange}}:{{ticker}}" is a placeholder'),
    ],
)
def test_refusals_name_the_field(body: bytes, message: str) -> None:
    with pytest.raises(BadAlertError) as refusal:
        read_alert(body, read_fields(body))
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize(
    ("ticker", "stored", "spelled"),
    [
        (" aapl ", "AAPL", "AAPL"),
        ("NASDAQ:AAPL", "AAPL", "AAPL"),
        ("nyse: brk.b", "BRK-B", "BRK.B"),
        ("BRK/B", "BRK-B", "BRK/B"),
        ("BRK-B", "BRK-B", "BRK-B"),
        ("MNQ1!", "MNQ1!", "MNQ1!"),
        ("CME_MINI:ES1!", "ES1!", "ES1!"),
        ("SPY 250624C596", "SPY 250624C596", "SPY 250624C596"),
        ("BTC/USD", "BTC-USD", "BTC/USD"),
        ("A" * 40, "A" * 40, "A" * 40),
    ],
)
def test_tickers_are_compared_in_one_form_and_keep_their_spelling(
    ticker: str, stored: str, spelled: str
) -> None:
    body = _encode({"ticker": ticker}, None)
    fields = read_fields(body)
    assert (read_alert(body, fields).ticker, spell_ticker(fields["ticker"])) == (stored, spelled)


@pytest.mark.parametrize(
    ("raw", "price"),
    [
        ("1.10", Decimal("1.10")),
        ('"1.10"', Decimal("1.10")),
        ('" 12 "', Decimal(12)),
        ("-3e2", Decimal(-300)),
        ('".5"', Decimal("0.5")),
        ("0", Decimal(0)),
        ("null", None),
    ],
)
def test_a_price_is_a_number_or_a_numeric_string(raw: str, price: Decimal | None) -> None:
    body = f'{{"ticker": "A", "price": {raw}}}'.encode()
    alert = read_alert(body, read_fields(body))
    assert (alert.price, alert.remarks) == (price, ())


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ('"None"', "None"),
        ('"cheap"', "cheap"),
        ('"NaN"', "NaN"),
        ("true", "true"),
        ("[1]", "[1]"),
        ("1e999", "1e999"),
        ("1e-999", "1e-999"),
        ("9" * 5000, "9" * 40),
        ('"{{close}}"', "{{close}}"),
        ('"a\\u0000b"', "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_an_invalid_price_does_not_reject_the_alert(raw: str, shown: str) -> None:
    body = f'{{"ticker": "A", "action": "sell", "price": {raw}}}'.encode()
    alert = read_alert(body, read_fields(body))
    assert (alert.reading.type, alert.price, alert.body) == ("sell", None, body)
    assert tuple(map(str, alert.remarks)) == (f"price '{shown}' is not a number: not used",)


@pytest.mark.parametrize("raw", ["null", '""', '"  "'])
def test_an_empty_price_is_no_remark(raw: str) -> None:
    body = f'{{"ticker": "A", "price": {raw}}}'.encode()
    alert = read_alert(body, read_fields(body))
    assert (alert.price, alert.remarks) == (None, ())


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\0", b" \r\n\0\0\n"])
def test_a_byte_order_mark_and_trailing_whitespace_are_ignored(start: bytes, end: bytes) -> None:
    body = b'{"ticker": "A", "x": " \\u0000"}'
    assert trim(start + body + end) == body


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ('"Long"', "Long"),
        ("17", "17"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('{"a": 1}', '{"a": 1}'),
        ('"a\\u0000b"', "a\N{REPLACEMENT CHARACTER}b"),
        ('""', ""),
        ("null", None),
    ],
)
def test_the_senders_own_id_is_any_json_value(raw: str, shown: str | None) -> None:
    body = f'{{"ticker": "A", "signal_id": {raw}}}'.encode()
    assert read_alert(body, read_fields(body)).sender_signal_id == shown


@given(fields=st.dictionaries(st.text(max_size=4), _JSON, min_size=2, max_size=6), data=st.data())
def test_order_of_fields_and_secret_do_not_change_the_digest(
    fields: dict[str, object], data: st.DataObject
) -> None:
    fields.pop("secret", None)
    shuffled = dict(data.draw(st.permutations(list(fields.items()))))
    with_secret = {**shuffled, "secret": data.draw(st.text())}
    same = {digest(read_fields(_encode(variant, None))) for variant in (fields, shuffled, with_secret)}
    assert len(same) == 1


def test_a_different_value_changes_the_digest() -> None:
    bodies = [b'{"a": 1}', b'{"a": 1.0}', b'{"a": "1"}', b'{"b": 1}', b'{"a": 1, "b": 1}', b'{"a:1": 1}']
    assert len({digest(read_fields(body)) for body in bodies}) == len(bodies)
