"""Read the values of an alert's top-level fields from their JSON. Pure."""

import re
from collections.abc import Mapping
from decimal import Decimal

import msgspec

Fields = Mapping[str, bytes]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_DIGITS = 60  # before and after the point: far above any price, far below what `numeric` refuses
SHOWN_LENGTH = 40

decode_string = msgspec.json.Decoder(str).decode


def decode_text(raw: bytes | None) -> str | None:
    """Return the text of a JSON string; None for any other value or an invalid string."""
    try:
        return decode_string(raw) if raw and raw[:1] == b'"' else None
    except msgspec.DecodeError:
        return None


def read_text(raw: bytes | None) -> str:
    """Return a value as text without whitespace around it; "" if it is missing, null or blank."""
    if raw is None or raw == b"null":
        return ""
    text = decode_text(raw)
    return raw.decode("utf-8", "replace") if text is None else text.strip()


def read_number(text: str) -> Decimal | None:
    """Return the number that a text is; None if it is none, or has more than 60 digits on a side."""
    if len(text) > 2 * _DIGITS or not _NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    if len(text) <= _DIGITS and "e" not in text and "E" not in text:
        return number
    exponent = number.as_tuple().exponent
    is_too_long = number.adjusted() > _DIGITS or (isinstance(exponent, int) and exponent < -_DIGITS)
    return None if is_too_long else number


def shown(text: str, length: int = SHOWN_LENGTH) -> str:
    """Return the beginning of a sender's text; NUL, which PostgreSQL cannot store, is replaced."""
    return text[:length].replace("\0", "\N{REPLACEMENT CHARACTER}")
