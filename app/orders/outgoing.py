"""Write the body of a request to the destination; every byte that need not change is sent as received. Pure.

With `MAP_SIDE_TO_ACTION_TRADERSPOST` only the bridge's documented words go out, and an exit is written so
that it cannot open a short. Without it an alert goes out as its sender wrote it.
"""

import json
from collections.abc import Mapping
from uuid import UUID

from app.signals.alert import BadAlertError, members, read_fields, remove_members, spell_ticker
from app.signals.amounts import fixed_point
from app.signals.fields import Fields, decode_text, read_number, read_text
from app.signals.reading import SENTIMENTS, Intent, read, read_sentiment
from app.signals.statuses import SignalType

Changes = Mapping[str, bytes | None]  # the JSON to set a member to; None leaves it out

_EMPTY_VALUES = frozenset({b"null", b'""'})
_BUY, _ADD, _EXIT = b'"buy"', b'"add"', b'"exit"'
_REDUCE: Changes = {"action": _EXIT, "sentiment": None}
_CLOSE: Changes = {**_REDUCE, "quantity": None, "quantityType": None}


def render(
    body: bytes, *, signal_id: UUID, order_type: str, map_action: bool, intent: Intent | None = None
) -> bytes:
    """Return the body to send.

    `intent` is the one that the book gives, None if the alert alone decides. `ticker` is the sender's in
    upper case and without exchange. `signal_id` is added if the alert has none.

    Raises:
        ValueError: `body` is not a JSON object.
    """
    fields = _fields_of(body)
    changes = dict(changes_of(fields, order_type, map_action=map_action, intent=intent))
    if ticker := spell_ticker(fields.get("ticker")):
        changes["ticker"] = json.dumps(ticker).encode()
    if fields.get("signal_id", b"null") in _EMPTY_VALUES:
        changes["signal_id"] = json.dumps(str(signal_id)).encode()
    return _apply(body, fields, changes)


def changes_of(fields: Fields, order_type: str, *, map_action: bool, intent: Intent | None = None) -> Changes:
    """Return what to change in an order's members; those without a change go out as they came.

    A person's order is an exit, whatever `map_action` says. The bridge accepts a sentiment with buy only.
    """
    if order_type not in {SignalType.BUY, SignalType.SELL}:
        return _CLOSE
    if not map_action:
        return {}
    reading = read(fields)
    intent = intent or reading.intent
    return _entry(fields, intent) if order_type == SignalType.BUY else _exit(fields, intent, reading.word)


def _fields_of(body: bytes) -> Fields:
    try:
        return read_fields(body)
    except BadAlertError as error:
        raise ValueError("the body is not a JSON object") from error


def _entry(fields: Fields, intent: Intent | None) -> Changes:
    if intent is Intent.ADD:
        return {"action": _ADD, "sentiment": None}
    return {"action": _BUY, **_sentiment(fields)}


def _exit(fields: Fields, intent: Intent | None, word: str) -> Changes:
    if intent is Intent.ADJUST:
        return {"action": json.dumps(word).encode()}
    if intent in {Intent.REDUCE, Intent.REDUCE_OR_CLOSE}:
        return {**_REDUCE, **_percentage(fields)}
    return _CLOSE


def _sentiment(fields: Fields) -> Changes:
    """Return the sentiment in the bridge's spelling, where it was sent in another."""
    found = read_sentiment(fields, "sentiment")
    if found is None or decode_text(fields["sentiment"]) in SENTIMENTS:
        return {}
    return {"sentiment": json.dumps(found).encode()}


def _percentage(fields: Fields) -> Changes:
    """Return `"50%"` in the bridge's form: a quantity of 50 of the type `percent_of_position`."""
    text = read_text(fields.get("quantity"))
    if not text.endswith("%"):
        return {}
    amount = text[:-1].rstrip()
    number = read_number(amount)
    quantity = amount if number is None else fixed_point(number)
    return {"quantity": json.dumps(quantity).encode(), "quantityType": b'"percent_of_position"'}


def _apply(body: bytes, fields: Fields, changes: Changes) -> bytes:
    """Set, leave out and add members; a repeated name is changed each time."""
    present = {
        name: value
        for name, value in changes.items()
        if name in fields and not _has_only(body, fields, name, value)
    }
    for name, value in present.items():
        if value is None:
            body = remove_members(body, name)
    if any(present.values()):
        body = _set_members(body, present)
    added = b",".join(
        json.dumps(name).encode() + b":" + value
        for name, value in changes.items()
        if value is not None and name not in fields
    )
    return _append(body, added) if added else body


def _has_only(body: bytes, fields: Fields, name: str, value: bytes | None) -> bool:
    """Return whether a member has this value already, and its name is certain to occur once."""
    return fields[name] == value and b"\\" not in body and body.count(b'"%b"' % name.encode()) == 1


def _set_members(body: bytes, values: Changes) -> bytes:
    result = bytearray(body)
    for member in reversed(list(members(body))):  # from the end, so that the earlier spans stay valid
        if value := values.get(member.name):
            result[member.value : member.end] = value
    return bytes(result)


def _append(body: bytes, added: bytes) -> bytes:
    last = len(body[: body.rindex(b"}")].rstrip(b" \t\r\n"))
    is_first = body[last - 1 : last] == b"{"
    return body[:last] + (b"" if is_first else b",") + added + body[last:]
