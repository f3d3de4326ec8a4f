"""Parse the rows of an export as history, which is shown and never traded again. Pure."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from app.config.access import SOURCE_LENGTH
from app.config.destinations import DEFAULT_DESTINATION, Name
from app.errors import WrongValueError
from app.signals import tickers
from app.signals.alert import BODY_LIMIT
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode
from app.signals.statuses import OrderStatus, Outcome, SignalType, Status
from app.transfer.export import BASE64
from app.transfer.repository import ImportedAttempt, ImportedEvent, ImportedOrder, ImportedSignal

REQUIRED = ("id", "received_at", "status", "ticker", "body")

_FINAL = frozenset({Status.REJECTED, Status.FORWARDED, Status.FAILED, Status.EXPIRED})
_Small = Annotated[int, Meta(ge=1, le=32_767)]
_Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]
_Ticker = Annotated[str, Meta(pattern=rf"^{tickers.CHARACTERS}\Z")]
_SourceName = Annotated[str, Meta(max_length=SOURCE_LENGTH)]
_Moment = Annotated[datetime, Meta(tz=True)]
_DETAIL_LIMIT = 256 * 1024
_DETAIL_DEPTH = 32  # far more than the application writes, far less than a JSON parser refuses
_PRICE_LENGTH = 4000
_PRICE_DIGITS = 2000
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK_SKEW = timedelta(minutes=5)  # how far the clock of the exporting host may be ahead
_EXPIRY_SPAN = timedelta(days=3660)
_Decoded = TypeVar("_Decoded")

_MOMENT = Reason(RefusalCode.MOMENT, example="2026-11-22T10:00:00Z")
_OUT_OF_RANGE = Reason(RefusalCode.OUT_OF_RANGE, first=1970, last=9999)
_NOT_TEXT = Reason(RefusalCode.NO_TEXT)
_ALLOWED = {
    "id": Reason(RefusalCode.UUID),
    "received_at": _MOMENT,
    "status": Reason(RefusalCode.STATUS),
    "status_at": _MOMENT,
    "type": Reason(RefusalCode.TYPE),
    "ticker": Reason(RefusalCode.TICKER),
    "price": Reason(RefusalCode.PRICE_SIZE),
    "round": Reason(RefusalCode.WHOLE_NUMBER, low=1, high=32767),
    "attempts": Reason(RefusalCode.WHOLE_NUMBER, low=0, high=2147483647),
    "expires_at": _MOMENT,
    "source": Reason(
        RefusalCode.VALUE_LENGTH_AT_MOST,
        high=SOURCE_LENGTH,
        parts=Reason(RefusalCode.VALUE_PARTS_CHARACTERS),
    ),
    "events": Reason(RefusalCode.EVENTS),
    "deliveries": Reason(RefusalCode.DELIVERIES),
    "orders": Reason(RefusalCode.ORDERS),
}


class _Event(msgspec.Struct, frozen=True):
    at: _Moment
    status: str
    reason: str
    detail: msgspec.Raw  # unparsed, so that numbers keep all their digits


class _Attempt(msgspec.Struct, frozen=True):
    round: _Small
    number: _Count
    destination: str
    webhook_id: str
    started_at: _Moment
    ended_at: _Moment | None
    outcome: Outcome | None
    http_status: Annotated[int, Meta(ge=0, le=999)] | None
    error: str | None
    response: str | None  # base64
    sent_to: Name = DEFAULT_DESTINATION


class _Order(msgspec.Struct, frozen=True):
    destination: Name
    round: _Small
    status: OrderStatus
    attempts: _Count
    ended_at: _Moment | None


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """The plain cells of a row with their types and ranges. Optional columns may be missing or empty."""

    id: UUID
    received_at: _Moment
    status: Status
    ticker: _Ticker
    body: str
    status_at: _Moment | None = None
    type: SignalType | None = None
    price: str | None = None
    reason: str = ""
    sender_signal_id: str | None = None
    round: _Small = 1
    attempts: _Count = 0
    expires_at: _Moment | None = None
    source: _SourceName | None = None


_CELLS = (*_Row.__struct_fields__, "events", "deliveries", "orders")


@dataclass(frozen=True, slots=True)
class Past:
    """A signal with its timeline, ready to be inserted.

    `was_unfinished`: it was pending when it was exported, and is imported as expired.
    """

    signal: ImportedSignal
    events: tuple[ImportedEvent, ...]
    attempts: tuple[ImportedAttempt, ...]
    orders: tuple[ImportedOrder, ...]
    was_unfinished: bool


def read(cells: Mapping[str, str | None], now: datetime) -> Past:
    """Parse a row of an export by column names; None is an empty cell. `now` is the database's time.

    Raises:
        WrongValueError: a cell is missing or not valid. Names column and what is allowed, never the content.
    """
    texts = {name: text for name, text in cells.items() if text is not None and name in _CELLS}
    for name, text in texts.items():
        if not storable(text):
            raise _bad_cell(name, _NOT_TEXT)
    events = _listed("events", texts.pop("events", None), tuple[_Event, ...])
    attempts = _listed("deliveries", texts.pop("deliveries", None), tuple[_Attempt, ...])
    orders = _listed("orders", texts.pop("orders", None), tuple[_Order, ...])
    row = _row(texts)
    if row.type is None and row.status != Status.REJECTED:
        raise _bad_cell("type", Reason(RefusalCode.TYPE_MISSING))
    latest = now + _CLOCK_SKEW
    received_at = _moment("received_at", row.received_at, latest)
    status_at = _moment("status_at", row.status_at or received_at, latest)
    expires_at = _moment("expires_at", row.expires_at or received_at, received_at + _EXPIRY_SPAN)
    event_rows = tuple(_event(row.id, number, event, latest) for number, event in enumerate(events, 1))
    unfinished = row.status not in _FINAL
    reason, status = row.reason, str(row.status)
    if unfinished:
        reason, status, status_at = str(Reason(ReasonCode.IMPORTED, status=status)), Status.EXPIRED, now
        event_rows = (*event_rows, ImportedEvent(row.id, now, status, reason, msgspec.Raw(b"{}")))
    signal = ImportedSignal(
        id=row.id,
        received_at=received_at,
        status=status,
        status_at=status_at,
        type=row.type,
        ticker=row.ticker,
        price=_price(row.price),
        reason=reason,
        sender_signal_id=row.sender_signal_id,
        round=row.round,
        attempts=row.attempts,
        expires_at=expires_at,
        body=_body(row.body),
        source=row.source,
    )
    attempt_rows = tuple(
        _attempt(row.id, number, attempt, latest) for number, attempt in enumerate(attempts, 1)
    )
    is_shared = len({order.destination for order in orders}) > 1
    order_rows = tuple(
        _order(row.id, number, order, now, latest, is_shared=is_shared)
        for number, order in enumerate(orders, 1)
    )
    return Past(signal, event_rows, attempt_rows, order_rows, unfinished)


def storable(text: str) -> bool:
    """Return whether PostgreSQL can store the text: it has no NUL, and no bytes that were not UTF-8."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _row(texts: Mapping[str, str]) -> _Row:
    for name in REQUIRED:
        if name not in texts:
            raise _bad_cell(name, Reason(RefusalCode.VALUE_REQUIRED))
    try:
        return msgspec.convert(dict(texts), _Row, strict=False)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        name = _place(error)[1]
        raise _bad_cell(name, _ALLOWED.get(name, _NOT_TEXT)) from error


def _listed(name: str, text: str | None, kind: type[tuple[_Decoded, ...]]) -> tuple[_Decoded, ...]:
    """Decode a cell with a JSON list; an empty cell is an empty list."""
    if text is None:
        return ()
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        entry, field = _place(error)
        if entry is None:
            raise _bad_cell(name) from error
        raise _bad_entry(name, entry, field) from error
    except RecursionError as error:
        raise _bad_cell(name, Reason(RefusalCode.NESTED)) from error


def _place(error: Exception) -> tuple[int | None, str]:
    """Return the list entry's number, from 1, and the field that an error of msgspec names."""
    found = re.search(r" - at `\$(?:\[(\d+)\])?(?:\.([a-z_]+))?", str(error))
    if found is None:
        return None, ""
    return (None if found[1] is None else int(found[1]) + 1), found[2] or ""


def _bad_entry(name: str, entry: int, field: str, reason: Reason | None = None) -> WrongValueError:
    reason = reason or _ALLOWED[name]
    if field:
        return _bad_cell(name, Reason(RefusalCode.ENTRY, reason=reason, number=entry, field=field))
    return _bad_cell(name, Reason(RefusalCode.ENTRY_WHOLE, reason=reason, number=entry))


def _bad_cell(name: str, reason: Reason | None = None) -> WrongValueError:
    return WrongValueError(RefusalCode.AT, place=name, reason=reason or _ALLOWED[name])


def _moment(name: str, value: datetime, latest: datetime) -> datetime:
    """Return a time in UTC.

    Raises:
        WrongValueError: it is out of bounds.
    """
    moment, reason = _in_utc(value, latest)
    if reason:
        raise _bad_cell(name, reason)
    return moment


def _entry_moment(name: str, entry: int, field: str, value: datetime, latest: datetime) -> datetime:
    moment, reason = _in_utc(value, latest)
    if reason:
        raise _bad_entry(name, entry, field, reason)
    return moment


def _in_utc(value: datetime, latest: datetime) -> tuple[datetime, Reason | None]:
    """Return the time in UTC, and why it is out of bounds."""
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        return value, _OUT_OF_RANGE
    if moment < _EARLIEST:
        return moment, _OUT_OF_RANGE
    return moment, None if moment <= latest else Reason(RefusalCode.FUTURE)


def _event(signal_id: UUID, number: int, event: _Event, latest: datetime) -> ImportedEvent:
    for field in ("status", "reason"):
        if not storable(getattr(event, field)):
            raise _bad_entry("events", number, field)
    detail = _detail(event.detail)
    if detail is None:
        raise _bad_entry("events", number, "detail")
    at = _entry_moment("events", number, "at", event.at, latest)
    return ImportedEvent(signal_id, at, event.status, event.reason, detail)


def _detail(raw: msgspec.Raw) -> msgspec.Raw | None:
    """Return a JSON object if it can be stored and shown; None for anything else."""
    if len(bytes(raw)) > _DETAIL_LIMIT:
        return None
    try:
        values = msgspec.json.decode(raw, type=dict[str, Any])
        return raw if all(map(storable, _texts(values, _DETAIL_DEPTH))) else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _texts(value: object, depth: int) -> Iterator[str]:
    """Yield every text within a JSON value.

    Raises:
        RecursionError: it is nested deeper than `depth`.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        if not depth:
            raise RecursionError
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from _texts(part, depth - 1)


def _attempt(signal_id: UUID, number: int, attempt: _Attempt, latest: datetime) -> ImportedAttempt:
    """Return the attempt. One that was open in the export has ended, with an unknown outcome."""
    for field in ("destination", "webhook_id", "error"):
        if not storable(getattr(attempt, field) or ""):
            raise _bad_entry("deliveries", number, field)
    try:
        # the version without the column `imported_at` broke base64 into lines
        text = None if attempt.response is None else attempt.response.replace("\n", "")
        response = None if text is None else base64.b64decode(text, validate=True)
    except ValueError as error:
        raise _bad_entry("deliveries", number, "response") from error
    started_at = _entry_moment("deliveries", number, "started_at", attempt.started_at, latest)
    ended_at = attempt.ended_at or started_at
    return ImportedAttempt(
        signal_id=signal_id,
        round=attempt.round,
        number=attempt.number,
        destination=attempt.destination,
        webhook_id=attempt.webhook_id,
        started_at=started_at,
        ended_at=_entry_moment("deliveries", number, "ended_at", ended_at, latest),
        outcome=attempt.outcome or Outcome.UNKNOWN,
        http_status=attempt.http_status,
        error=attempt.error,
        response=response,
        sent_to=attempt.sent_to,
    )


def _order(
    signal_id: UUID, number: int, order: _Order, now: datetime, latest: datetime, *, is_shared: bool
) -> ImportedOrder:
    """Return the order. One that was unfinished in the export has expired: history is never traded."""
    is_unfinished = order.status in {OrderStatus.PENDING, OrderStatus.SENDING}
    ended_at = now if is_unfinished or order.ended_at is None else order.ended_at
    return ImportedOrder(
        signal_id=signal_id,
        destination=order.destination,
        round=order.round,
        status=OrderStatus.EXPIRED if is_unfinished else order.status,
        attempts=order.attempts,
        ended_at=_entry_moment("orders", number, "ended_at", ended_at, latest),
        is_shared=is_shared,
    )


def _price(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        price = Decimal(text if len(text) <= _PRICE_LENGTH else "NaN")
    except InvalidOperation as error:
        raise _bad_cell("price") from error
    exponent = price.as_tuple().exponent
    if not isinstance(exponent, int) or max(abs(price.adjusted()), abs(exponent)) > _PRICE_DIGITS:
        raise _bad_cell("price")
    return price


def _body(text: str) -> bytes:
    try:
        body = (
            base64.b64decode(text[len(BASE64) :], validate=True) if text.startswith(BASE64) else text.encode()
        )
    except (binascii.Error, ValueError) as error:
        raise _bad_cell("body", Reason(RefusalCode.BASE64, mark=BASE64)) from error
    if len(body) > BODY_LIMIT:
        raise WrongValueError(ReasonCode.BODY_TOO_LARGE, bytes=BODY_LIMIT)
    return body
