"""From the bytes of a post to an alert. Pure."""

import re
from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from app.signals.members import without
from app.signals.vocabulary import Order, read_order

SECRET_FIELD = "secret"  # noqa: S105  # the name of a field
_TICKER = re.compile(r"[A-Za-z0-9.-]{1,20}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_PRICE_DIGITS = 60  # before and after the point: far above any price, far below what `numeric` refuses
_SENDER_ID_LENGTH = 500
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode

Fields = Mapping[str, bytes]


class BadAlertError(Exception):
    """The post is no alert; the text names the field and what is allowed (422)."""


class Alert(NamedTuple):
    """An alert as it is stored. `body` is what came, without the secret; equal alerts have equal digests."""

    ticker: str
    order: Order
    price: Decimal | None
    sender_signal_id: str | None
    body: bytes
    digest: bytes


def read_fields(body: bytes) -> dict[str, bytes]:
    """Return each top-level field's value as the bytes it came in; the last one of a repeated name.

    Raises:
        BadAlertError: not UTF-8, not JSON, not an object, or nested too deeply.
    """
    try:
        body.decode("utf-8")
        return {name: bytes(value) for name, value in _decode(body).items()}
    except UnicodeDecodeError as error:
        raise BadAlertError(f"body: not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise BadAlertError("body: nested too deeply") from error
    except msgspec.ValidationError as error:
        raise BadAlertError(f"body: a JSON object is needed ({error})") from error
    except msgspec.DecodeError as error:
        raise BadAlertError(f"body: not valid JSON ({error})") from error


def read_alert(body: bytes, fields: Fields) -> Alert:
    """Make the alert of a body and its fields.

    Raises:
        BadAlertError: the ticker is missing or odd, or the price is no number.
    """
    return Alert(
        ticker=_ticker(fields.get("ticker")),
        order=read_order(_word(fields.get("action")), _word(fields.get("side"))),
        price=_price(fields.get("price")),
        sender_signal_id=_sender_id(fields.get("signal_id")),
        body=without(body, SECRET_FIELD) if SECRET_FIELD in fields else body,
        digest=digest(fields),
    )


def digest(fields: Fields) -> bytes:
    """Hash what makes two alerts the same: names in order, each value as it came, the secret left out."""
    whole = blake2b(digest_size=16, person=b"body")
    for name in sorted(fields):
        if name != SECRET_FIELD:
            encoded, value = name.encode(), fields[name]
            whole.update(b"%d:%b%d:%b" % (len(encoded), encoded, len(value), value))
    return whole.digest()


def text_of(raw: bytes | None) -> str | None:
    """Return a JSON string's text; None for anything that is no (readable) string."""
    try:
        return _decode_text(raw) if raw and raw[:1] == b'"' else None
    except msgspec.DecodeError:
        return None


def _ticker(raw: bytes | None) -> str:
    if raw is None or raw == b"null":
        raise BadAlertError("ticker: missing")
    text = text_of(raw)
    if text is None or not _TICKER.fullmatch(ticker := text.strip()):
        raise BadAlertError("ticker: 1 to 20 of A-Z, 0-9, '.' and '-' are allowed")
    return ticker.upper()


def _word(raw: bytes | None) -> str | None:
    """Return the text of `action` or `side`; what is no text counts as the unknown word it is written as."""
    if raw is None or raw == b"null":
        return None
    text = text_of(raw)
    return raw[:40].decode("utf-8", "replace") if text is None else text


def _price(raw: bytes | None) -> Decimal | None:
    if raw is None or raw == b"null":
        return None
    text = (text_of(raw) if raw[:1] == b'"' else raw.decode()) or ""
    if len(text) > 2 * _PRICE_DIGITS or not _NUMBER.fullmatch(text := text.strip()):
        raise BadAlertError("price: a number, or a text that is one, is allowed")
    price = Decimal(text)
    exponent = price.as_tuple().exponent
    if price.adjusted() > _PRICE_DIGITS or (isinstance(exponent, int) and exponent < -_PRICE_DIGITS):
        raise BadAlertError(f"price: at most {_PRICE_DIGITS} digits before and after the point are allowed")
    return price


def _sender_id(raw: bytes | None) -> str | None:
    """Return the sender's own id, for showing: any JSON value, cut, without what PostgreSQL cannot hold."""
    if raw is None or raw == b"null":
        return None
    text = text_of(raw)
    shown = raw.decode("utf-8", "replace") if text is None else text
    return shown[:_SENDER_ID_LENGTH].replace("\0", "\N{REPLACEMENT CHARACTER}")
