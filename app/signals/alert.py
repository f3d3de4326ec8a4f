"""Parse an alert: from the bytes of a post to its fields, its reading and the body to store. Pure."""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from app.signals.fields import Fields, decode_string, decode_text, read_number, read_text, shown
from app.signals.reading import Intent, Reading, read
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import SignalType
from app.signals.tickers import fold, is_ticker, without_exchange

BODY_LIMIT = 64 * 1024  # bytes of an alert
SECRET_FIELD = "secret"  # noqa: S105  # the name of a field
_SENDER_ID_LENGTH = 500
_CACHED_BYTES = 60  # of a ticker; longer ones are rare, and would fill the memory
SHOWN_TICKER_LENGTH = 100  # longer than a secret that is masked in it
_BYTE_ORDER_MARK, _TRAILING = b"\xef\xbb\xbf", b" \t\r\n\0"

_WHITESPACE = rb"[ \t\r\n]*"
_STRING = rb'"(?:[^"\\]|\\.)*"'
_NAME = re.compile(rb"[, \t\r\n]*(" + _STRING + rb")" + _WHITESPACE + rb":" + _WHITESPACE)
_SCALAR = re.compile(_STRING + rb"|[^{\[\]},\" \t\r\n]+")
_BRACKETS = re.compile(_STRING + rb"|[{}\[\]]")
_PLACE = re.compile(r"\(byte (\d+)\)")

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class BadAlertError(Exception):
    """The post is not a valid alert (422); the reason names the field and what is allowed."""

    def __init__(self, code: ReasonCode, **parameters: str | int) -> None:
        self.reason = Reason(code, **parameters)
        super().__init__(str(self.reason))


class Alert(NamedTuple):
    """An alert as it is stored.

    `ticker` is the form by which tickers are compared. `body` holds the bytes that were sent, without the
    secret. Equal alerts have equal digests. `remarks` say what was not used, or was read otherwise than the
    sender may expect.
    """

    ticker: str
    reading: Reading
    remarks: tuple[Reason, ...]
    price: Decimal | None
    sender_signal_id: str | None
    body: bytes
    digest: bytes


class Member(NamedTuple):
    """A member of a JSON object: its name and its offsets in the bytes.

    `start` is the opening quote of the name, `value` the first byte of the value, `end` one past its last.
    """

    name: str
    start: int
    value: int
    end: int


def trim(body: bytes) -> bytes:
    """Return the body without a byte order mark, and without whitespace and NUL behind it."""
    return body.removeprefix(_BYTE_ORDER_MARK).rstrip(_TRAILING)


def read_fields(body: bytes) -> dict[str, bytes]:
    """Return the bytes of each top-level field's value; a repeated name has its last value.

    Raises:
        BadAlertError: not UTF-8, not JSON, not an object, or nested too deeply.
    """
    try:
        body.decode("utf-8")
        return {name: bytes(value) for name, value in _decode(body).items()}
    except UnicodeDecodeError as error:
        raise BadAlertError(ReasonCode.BODY_NOT_UTF8, at=error.start) from error
    except RecursionError as error:
        raise BadAlertError(ReasonCode.BODY_NESTED) from error
    except msgspec.ValidationError as error:
        raise BadAlertError(ReasonCode.BODY_NOT_OBJECT) from error
    except msgspec.DecodeError as error:
        raise BadAlertError(ReasonCode.BODY_NOT_JSON, why=_place_of(error, body)) from error


def read_alert(body: bytes, fields: Fields) -> Alert:
    """Build the alert from a body and its fields.

    Raises:
        BadAlertError: the ticker is missing or not valid.
    """
    ticker, reading = _read_ticker(fields.get("ticker")), read(fields)
    price_text = read_text(fields.get("price"))
    price = read_number(price_text) if price_text else None
    remarks = reading.remarks
    if price is None and price_text:
        remarks += (Reason(ReasonCode.REMARK_PRICE, word=shown(price_text)),)
    return Alert(
        ticker=ticker,
        reading=reading,
        remarks=remarks,
        price=price,
        sender_signal_id=_read_sender_id(fields.get("signal_id")),
        body=remove_members(body, SECRET_FIELD) if SECRET_FIELD in fields else body,
        digest=digest(fields),
    )


def read_order(body: bytes, order_type: str) -> Reading:
    """Return what the body of a stored signal asks for.

    A person's order closes. So does a sell that is not read as one any more, and such a buy opens.
    Fails open: no exit is lost because a later version reads its words otherwise.
    """
    try:
        reading = read(read_fields(body))
    except BadAlertError:
        reading = _UNREADABLE
    if reading.type == order_type:
        return reading
    return Reading(Intent.OPEN if order_type == SignalType.BUY else Intent.CLOSE)


_UNREADABLE = Reading(None)


def spell_ticker(raw: bytes | None) -> str:
    """Return the ticker as its sender spells it, in upper case and without exchange; "" if it is no text."""
    return without_exchange(decode_text(raw) or "")


def digest(fields: Fields) -> bytes:
    """Hash the fields by which duplicates are found: sorted by name, values as sent, without the secret."""
    parts = list[bytes]()
    for name in sorted(fields):
        if name != SECRET_FIELD:
            encoded, value = name.encode(), fields[name]
            parts.append(b"%d:%b%d:%b" % (len(encoded), encoded, len(value), value))
    return blake2b(b"".join(parts), digest_size=16, person=b"body").digest()


def members(body: bytes) -> Iterator[Member]:
    """Yield the members of the object in `body` in their order, a repeated name each time.

    `body` must be valid JSON: parse it first. `dict[str, msgspec.Raw]` keeps the bytes of a value, but not
    where it is, the whitespace around it, or the earlier values of a repeated name. Any of these values may
    be a secret. The decoder of `json` gives places, but accepts less depth than msgspec.
    """
    position = body.index(b"{") + 1
    while found := _NAME.match(body, position):
        scalar = _SCALAR.match(body, found.end())
        position = scalar.end() if scalar else _end_of_nested(body, found.end())
        yield Member(decode_string(found[1]), found.start(1), found.end(), position)


def remove_members(body: bytes, name: str) -> bytes:
    """Return `body` without the members of that name and their commas; all other bytes are unchanged."""
    spans = list(members(body))
    kept = [index for index, member in enumerate(spans) if member.name != name]
    if len(kept) == len(spans):
        return body
    # every remaining member except the last keeps its comma and the whitespace around it
    parts = [body[spans[index].start : spans[index + 1].start] for index in kept[:-1]]
    parts += [body[spans[index].start : spans[index].end] for index in kept[-1:]]
    return b"".join([body[: spans[0].start], *parts, body[spans[-1].end :]])


def _place_of(error: msgspec.DecodeError, body: bytes) -> str:
    """Return where the body is not JSON, or where a truncated one ends; no words of msgspec's are shown."""
    found = _PLACE.search(str(error))
    return f"byte {found[1] if found else len(body)}"


def _end_of_nested(body: bytes, start: int) -> int:
    """Return the offset behind the array or object that begins at `start`."""
    depth = 0
    for mark in _BRACKETS.finditer(body, start):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    raise ValueError("the body is not valid JSON")


def _read_ticker(raw: bytes | None) -> str:
    return _read_ticker_cached(raw) if raw and len(raw) <= _CACHED_BYTES else _ticker_of(raw)


def _ticker_of(raw: bytes | None) -> str:
    if raw is None or raw == b"null":
        raise BadAlertError(ReasonCode.TICKER_MISSING)
    ticker, is_placeholder = spell_ticker(raw), b"{{" in raw
    if is_ticker(ticker) and not is_placeholder:
        return fold(ticker)
    code = ReasonCode.TICKER_PLACEHOLDER if is_placeholder else ReasonCode.TICKER_NOT_VALID
    raise BadAlertError(code, came=shown(raw.decode("utf-8", "replace"), SHOWN_TICKER_LENGTH))


_read_ticker_cached = lru_cache(maxsize=4096)(_ticker_of)  # alerts repeat their tickers


def _read_sender_id(raw: bytes | None) -> str | None:
    """Return the sender's own id for display: any JSON value, at most 500 characters, NUL replaced."""
    if raw is None or raw == b"null":
        return None
    text = decode_text(raw)
    shown = raw.decode("utf-8", "replace") if text is None else text
    return shown[:_SENDER_ID_LENGTH].replace("\0", "\N{REPLACEMENT CHARACTER}")
