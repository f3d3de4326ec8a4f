"""Reads exported signals back as history: shown, never traded again (SPEC §14). Pure but for `keep`."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from app.db.pool import Connection
from app.db.queries import load
from app.ops.export import BASE64
from app.ops.spreadsheet import restored

REQUIRED = ("id", "received_at", "status", "ticker", "body")

_Final = Literal["rejected", "forwarded", "failed", "expired"]
_Status = Literal["received", "approved", "forwarding"] | _Final
_Type = Literal["buy", "sell", "manual_sell", "position_close", "sell_all"]
_Small = Annotated[int, Meta(ge=1, le=32_767)]
_Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]
_Ticker = Annotated[str, Meta(pattern=r"^[A-Z0-9.-]{1,20}\Z")]
_Moment = Annotated[datetime, Meta(tz=True)]
_BODY_LIMIT = 64 * 1024
_PRICE_DIGITS = 1000
_TOMORROW = timedelta(days=1)
_SQL = load("transfer")


class _Event(msgspec.Struct, frozen=True):
    at: _Moment
    status: str
    reason: str
    detail: dict[str, Any]


class _Attempt(msgspec.Struct, frozen=True):
    round: _Small
    number: _Count
    destination: str
    webhook_id: str
    started_at: _Moment
    ended_at: _Moment | None
    outcome: Literal["delivered", "refused", "not_taken", "unknown"] | None
    http_status: Annotated[int, Meta(ge=0, le=999)] | None
    error: str | None
    response: bytes | None  # base64 in the file


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file, its types and ranges; the optional columns may be missing or empty."""

    id: UUID
    received_at: _Moment
    status: _Status
    ticker: _Ticker
    body: str
    status_at: _Moment | None = None
    type: _Type | None = None
    price: str | None = None
    reason: str = ""
    sender_signal_id: str | None = None
    round: _Small = 1
    attempts: _Count = 0
    expires_at: _Moment | None = None
    events: tuple[_Event, ...] = ()
    deliveries: tuple[_Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Past:
    """A signal as it is kept. `columns` are in the order of the statement `insert`.

    `was_unfinished`: it was on its way when it was exported, and has expired here.
    """

    columns: tuple[object, ...]
    events: tuple[_Event, ...]
    attempts: tuple[_Attempt, ...]
    was_unfinished: bool

    @property
    def id(self) -> object:
        """The signal's own id, by which it is recognised."""
        return self.columns[0]


def read(cells: Mapping[str, str], now: datetime) -> Past:
    """Read one line of an export.

    Raises:
        ValueError: a cell is missing or wrong; names it and what is allowed.
    """
    texts = {name: restored(cell) for name, cell in cells.items() if cell and name in _Row.__struct_fields__}
    for name, text in texts.items():
        if not storable(text):
            raise ValueError(f"{name}: holds what is no text")
    values: dict[str, Any] = dict(texts)
    for name in ("events", "deliveries"):
        if name in texts:
            values[name] = _json(name, texts[name])
    row = _converted(values)
    if row.type is None and row.status != "rejected":
        raise ValueError("type: only a rejected signal may be without one")
    if max(row.received_at, row.status_at or row.received_at) > now + _TOMORROW:
        raise ValueError("received_at: lies in the future")
    unfinished = row.status not in get_args(_Final)
    reason = f"imported; it was {row.status} when it was exported" if unfinished else row.reason
    status = "expired" if unfinished else row.status
    status_at = row.status_at or row.received_at
    events = row.events
    if unfinished:
        status_at = now
        events = (*events, _Event(at=now, status=status, reason=reason, detail={}))
    columns = (
        row.id,
        row.received_at,
        status,
        status_at,
        row.type,
        row.ticker,
        _price(row.price),
        reason,
        row.sender_signal_id,
        row.round,
        row.attempts,
        row.expires_at or row.received_at,
        _body(row.body),
    )
    return Past(columns, events, row.deliveries, unfinished)


def storable(text: str) -> bool:
    """Whether PostgreSQL can keep it: no NUL, and nothing that was no UTF-8."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _json(name: str, text: str) -> object:
    if "\\u0000" in text:  # jsonb cannot keep it either
        raise ValueError(f"{name}: holds what is no text")
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"{name}: {error}") from error


def _converted(values: dict[str, Any]) -> _Row:
    for name in REQUIRED:
        if name not in values:
            raise ValueError(f"{name}: is missing")
    try:
        return msgspec.convert(values, _Row, strict=False)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        raise ValueError(f"{place.rstrip('`')}: {reason}") from error


def _price(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        price = Decimal(text)
    except InvalidOperation as error:
        raise ValueError("price: is no number") from error
    if not price.is_finite() or abs(price.adjusted()) > _PRICE_DIGITS:
        raise ValueError("price: is no number of a sensible size")
    return price


def _body(text: str) -> bytes:
    try:
        body = (
            base64.b64decode(text[len(BASE64) :], validate=True) if text.startswith(BASE64) else text.encode()
        )
    except binascii.Error as error:
        raise ValueError(f"body: after {BASE64} only base64 is allowed") from error
    if len(body) > _BODY_LIMIT:
        raise ValueError(f"body: at most {_BODY_LIMIT} bytes are allowed")
    return body


async def keep(connection: Connection, signals: Sequence[Past]) -> set[object]:
    """Store what is not there yet, with its story, in one transaction; return the ids that are new."""
    async with connection.transaction():
        rows = await connection.fetch(_SQL["insert"], *_transposed([past.columns for past in signals], 13))
        new = {row["id"] for row in rows}
        told = {
            past.id: past for past in reversed(signals) if past.id in new
        }  # an id twice: the first counts
        events = [
            (past.id, event.at, event.status, event.reason, event.detail)
            for past in told.values()
            for event in past.events
        ]
        await connection.execute(_SQL["insert_events"], *_transposed(events, 5))
        attempts = [(past.id, *_ended(attempt)) for past in told.values() for attempt in past.attempts]
        await connection.execute(_SQL["insert_attempts"], *_transposed(attempts, 11))
    return new


def _transposed(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    return [[row[column] for row in rows] for column in range(width)]


def _ended(attempt: _Attempt) -> tuple[object, ...]:
    """The attempt's columns. One that was open ended with the export: nobody will ever know how."""
    return (
        attempt.round,
        attempt.number,
        attempt.destination,
        attempt.webhook_id,
        attempt.started_at,
        attempt.ended_at or attempt.started_at,
        attempt.outcome or "unknown",
        attempt.http_status,
        attempt.error,
        attempt.response,
    )
