"""Rows of the replaced system as history, positions, actions and strategies of this one. Pure.

An unreadable value is replaced where nothing depends on it: a time by another one of the row, an id by one
that is derived from it. A row without a ticker cannot be stored.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID, uuid5

import msgspec

from app.config.checking import Document
from app.config.masking import MASK
from app.errors import WrongValueError
from app.signals import tickers
from app.signals.reasons import Reason, ReasonCode
from app.signals.refusals import RefusalCode
from app.signals.statuses import SignalType, Status
from app.transfer import history
from app.transfer.export import body_cell
from app.transfer.history import Past
from app.transfer.legacy_repository import OldAction, OldPosition, OldSignal
from app.transfer.repository import ImportedEvent

ADOPTED = "adopted from the replaced system"
CLOSED_THERE = "closed in the replaced system"
NOT_ADOPTED = "not adopted: another position in this ticker was open"

_IDS = UUID("5f0c1f0e-2b1b-5b0e-9d55-7c2f9a6f4a11")  # the namespace of ids that are made
_STATUSES = {
    "received": Status.EXPIRED,
    "processing": Status.EXPIRED,
    "approved": Status.EXPIRED,
    "queued_forwarding": Status.EXPIRED,
    "rejected": Status.REJECTED,
    "forwarding": Status.FAILED,
    "forwarded_success": Status.FORWARDED,
    "forwarded_http_error": Status.FAILED,
    "forwarded_generic_error": Status.FAILED,
    "error": Status.FAILED,
}
_UNFINISHED = frozenset({"received", "processing", "approved", "queued_forwarding"})
_BEING_SENT = "forwarding"
_TYPES = {
    **{each.value: each for each in SignalType},
    "manual_close": SignalType.POSITION_CLOSE,
    "long": SignalType.BUY,
    "enter": SignalType.BUY,
    "exit": SignalType.SELL,
    "close": SignalType.SELL,
}
_SECRET_NAMES = frozenset({"token", "admin_token", "secret", "password", "api_key", "authorization"})
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_TEXT = 2000
_DETAILS = 100_000

Row = Mapping[str, Any]


class Redaction:
    """Removes the tokens that people typed from texts, as they are and as JSON spells them."""

    def __init__(self, tokens: Iterable[str]) -> None:
        spellings = {spelling for token in tokens for spelling in (token, _in_json(token))}
        ordered = sorted(map(re.escape, spellings), key=len, reverse=True)
        self._pattern = re.compile("|".join(ordered)) if ordered else None

    def text(self, value: str) -> str:
        """Return the text with a mask for each token."""
        return self._pattern.sub(MASK, value) if self._pattern else value

    def value(self, value: Any) -> Any:  # noqa: ANN401  # any JSON
        """Return a JSON value without fields that hold secrets, and with a mask for each token."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(each) for each in value]
        if isinstance(value, dict):
            return {
                self.text(key): self.value(each)
                for key, each in value.items()
                if key.lower() not in _SECRET_NAMES
            }
        return value


def _in_json(token: str) -> str:
    return json.dumps(token, ensure_ascii=False)[1:-1]


def parse(text: str) -> dict[str, Any]:
    """Return a row; its numbers as texts, so that they keep all their digits."""
    row: dict[str, Any] = json.loads(text, parse_float=str, parse_int=str)
    return row


def identity(kind: str, value: object, row: Row) -> UUID:
    """Return the id of a row: its own if it is a UUID, else always the same one made from it."""
    if value is None:
        return uuid5(_IDS, f"{kind}/{json.dumps(row, sort_keys=True)}")
    try:
        return UUID(str(value))
    except ValueError:
        return uuid5(_IDS, f"{kind}/{value}")


def is_odd_id(value: object) -> bool:
    """Return whether an id had to be made."""
    try:
        UUID(str(value))
    except ValueError:
        return True
    return False


def ticker_of(row: Row) -> str:
    """Return the ticker in the form by which tickers are compared.

    Raises:
        WrongValueError: no field of the row is a ticker.
    """
    for name in ("normalised_ticker", "ticker"):
        if isinstance(value := row.get(name), str):
            ticker = tickers.fold(tickers.without_exchange(value))
            if tickers.is_ticker(ticker):
                return ticker
    raise WrongValueError(RefusalCode.AT, place="ticker", reason=Reason(RefusalCode.TICKER))


def moment(value: object, latest: datetime) -> datetime | None:
    """Return a time in UTC, at most `latest`; None if it is none or before 1970. Without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(str(value))
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return min(found, latest) if found >= _EARLIEST else None


def type_of(row: Row, body: Mapping[str, Any]) -> SignalType | None:
    """Return the type of a signal by its type, its side or its alert; None if none of them says it."""
    for value in (row.get("signal_type"), row.get("side"), body.get("action"), body.get("side")):
        if isinstance(value, str) and (found := _TYPES.get(value.strip().lower())):
            return found
    return None


def signal(old: OldSignal, redaction: Redaction, now: datetime) -> Past:
    """Return a signal as history, with its events. It has ended, whatever its status was.

    Raises:
        WrongValueError: it cannot be stored.
    """
    row = parse(old.signal)
    body, fields = _body(old.body, row, redaction)
    was = str(row.get("status") or "").strip().lower()
    kind = type_of(row, fields)
    status = _STATUSES.get(was, Status.FAILED) if kind else Status.REJECTED
    received_at = moment(row.get("created_at"), now) or moment(row.get("updated_at"), now) or now
    status_at = max(received_at, moment(row.get("updated_at"), now) or received_at)
    events = [_event(event, received_at, redaction, now) for event in parse_list(old.events)]
    past = history.read(
        {
            "id": str(identity("signal", row.get("signal_id"), row)),
            "received_at": received_at.isoformat(),
            "status": status,
            "status_at": status_at.isoformat(),
            "type": kind,
            "ticker": ticker_of(row),
            "price": _price(row.get("price")),
            "body": body_cell(body),
            "events": json.dumps(events),
        },
        now,
    )
    reason = _reason(was, status, events)
    text, code, parameters = reason.columns()
    changed = past.signal._replace(reason=text, reason_code=code, reason_params=parameters)
    if was in _UNFINISHED or was == _BEING_SENT:
        end = ImportedEvent(changed.id, status_at, status, text, msgspec.Raw(b"{}"), code, parameters)
        return Past(changed, (*past.events, end), (), (), was in _UNFINISHED)
    return Past(changed, past.events, (), (), was_unfinished=False)


def parse_list(text: str) -> list[dict[str, Any]]:
    """Return rows; their numbers as texts."""
    rows: list[dict[str, Any]] = json.loads(text, parse_float=str, parse_int=str)
    return rows


def _reason(was: str, status: Status, events: list[dict[str, Any]]) -> Reason:
    if was in _UNFINISHED:
        return Reason(ReasonCode.MOVED_UNFINISHED, status=was)
    if was == _BEING_SENT:
        return Reason(ReasonCode.MOVED_BEING_SENT)
    said = next((event["reason"] for event in reversed(events) if event["status"] == status), "")
    return Reason(ReasonCode.OTHER, text=said) if said else Reason(ReasonCode.MOVED, status=was or "unknown")


def _event(row: Row, received_at: datetime, redaction: Redaction, now: datetime) -> dict[str, Any]:
    was = str(row.get("status") or "").strip().lower()
    details = redaction.value(row.get("details"))
    said = details if isinstance(details, str) else ""
    found = {"replaced_system_status": was, "worker": redaction.value(row.get("worker_id"))}
    if isinstance(details, dict | list):
        found["details"] = details if len(json.dumps(details)) <= _DETAILS else "…"
    return {
        "at": (moment(row.get("timestamp"), now) or received_at).isoformat(),
        "status": _event_status(was),
        "reason": said[:_TEXT],
        "detail": {name: value for name, value in found.items() if value is not None},
    }


def _event_status(was: str) -> str:
    """Return the status that an event entered; an unfinished one keeps the meaning that it had then."""
    if was == _BEING_SENT:
        return Status.FORWARDING
    if was in {"received", "processing"}:
        return Status.RECEIVED
    if was in _UNFINISHED:
        return Status.APPROVED
    return _STATUSES.get(was, Status.FAILED)


def _price(value: object) -> str | None:
    """Return a price that can be stored; None for anything else."""
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    return str(price) if price.is_finite() and abs(price.adjusted()) < 100 and len(str(price)) < 200 else None


def _body(text: str | None, row: Row, redaction: Redaction) -> tuple[bytes, dict[str, Any]]:
    """Return the alert without secrets, and its fields. The other fields keep their bytes."""
    made = {name: row[name] for name in ("ticker", "side", "price") if row.get(name) is not None}
    if text is None or text == "null":
        return redaction.text(json.dumps(made, ensure_ascii=False)).encode(), made
    try:
        if text.startswith('"'):  # stored as a text that is JSON
            text = str(json.loads(text))
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return redaction.text(text).encode(), {}
    kept = {name: value for name, value in fields.items() if name.lower() not in _SECRET_NAMES}
    words: dict[str, Any] = {name: _word(kept[name]) for name in ("action", "side") if name in kept}
    return redaction.text(msgspec.json.encode(kept).decode()).encode(), words


def _word(raw: msgspec.Raw) -> str:
    return str(msgspec.json.decode(raw)) if bytes(raw)[:1] == b'"' else ""


def position(text: str, now: datetime) -> OldPosition:
    """Return a position; one that is closing is open: its exit may not have left.

    Fails open: one of an unknown status is open unless it has a time of closing, so that exits pass.

    Raises:
        WrongValueError: it has no ticker.
    """
    row = parse(text)
    status = str(row.get("status") or "").strip().lower()
    is_closed = status == "closed" or (
        status not in {"open", "closing"} and moment(row.get("closed_at"), now) is not None
    )
    opened_at = moment(row.get("opened_at"), now) or now
    ticker = ticker_of(row)
    return OldPosition(
        id=identity(f"position/{ticker}", row.get("id"), row),  # an id that two tickers have hides neither
        ticker=ticker,
        opened_at=opened_at,
        opened_by=_reference(row.get("entry_signal_id")),
        closed_at=max(opened_at, moment(row.get("closed_at"), now) or opened_at) if is_closed else None,
        closed_by=_reference(row.get("exit_signal_id")) if is_closed else None,
        reason=CLOSED_THERE if is_closed else ADOPTED,
    )


def position_of_buy(text: str, now: datetime) -> OldPosition | None:
    """Return the position of a buy that was being sent: it may have been executed. None for an exit.

    Raises:
        WrongValueError: it has no ticker.
    """
    row = parse(text)
    if type_of(row, {}) is not SignalType.BUY:
        return None
    signal_id = identity("signal", row.get("signal_id"), row)
    opened_at = moment(row.get("created_at"), now) or now
    made = uuid5(_IDS, f"sent/{signal_id}")
    return OldPosition(made, ticker_of(row), opened_at, signal_id, None, None, ADOPTED)


def _reference(value: object) -> UUID | None:
    return None if value is None else identity("signal", value, {})


def action(text: str, redaction: Redaction, now: datetime) -> OldAction:
    """Return an entry of the actions log."""
    row = redaction.value(parse(text))
    details = row.get("details")
    after = {
        "action_id": int(row.get("action_id") or row["id"]),
        "details": details if len(json.dumps(details)) <= _DETAILS else "…",
        "user_agent": row.get("user_agent"),
        "milliseconds": row.get("execution_time_ms"),
    }
    name = ".".join(str(part) for part in (row.get("action_type"), row.get("action_name")) if part)
    failed = row.get("success") is False
    return OldAction(
        at=moment(row.get("timestamp"), now) or now,
        origin=str(row.get("ip_address") or "")[:_TEXT],
        action=f"moved.{name}"[:_TEXT],
        target=str(row.get("target_resource") or "")[:_TEXT],
        after=json.dumps({key: value for key, value in after.items() if value is not None}),
        result=f"refused: {row.get('error_message') or ''}"[:_TEXT] if failed else "done",
    )


def strategy(text: str, redaction: Redaction) -> tuple[Document, bool]:
    """Return a strategy as a document, and whether it was the active one."""
    row = redaction.value(json.loads(text))
    keys = (
        "name",
        "url",
        "description",
        "top_n",
        "refresh_interval_sec",
        "reprocess_enabled",
        "reprocess_window_seconds",
        "respect_sell_chronology_enabled",
        "sell_chronology_window_seconds",
    )
    return {key: row[key] for key in keys if row.get(key) is not None}, row.get("is_active") is True


def is_too_old(position: OldPosition, now: datetime, retention_days: int) -> bool:
    """Return whether retention would delete a closed position at once."""
    return position.closed_at is not None and position.closed_at < now - timedelta(days=retention_days)
