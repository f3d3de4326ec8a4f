"""Response models of the admin API and the live updates. Times are in UTC, ages in seconds.

Names and order of the fields are those of the columns that `repository.py` reads.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from app.runtime.denials import Kind
from app.signals.amounts import Amount

Status = Literal["received", "approved", "rejected", "forwarding", "forwarded", "failed", "expired"]
SignalType = Literal["buy", "sell", "manual_sell", "position_close", "sell_all"]
Outcome = Literal["delivered", "refused", "not_taken", "unknown"]


def _readable(content: object) -> object:
    return content.decode("utf-8", errors="replace") if isinstance(content, bytes) else content


Readable = Annotated[str, BeforeValidator(_readable)]
"""A text, also from bytes that a stranger sent: those that are not UTF-8 become U+FFFD."""


class Signal(BaseModel):
    """One signal. `type` is null where the alert has no order that can be read.

    `source` is who posted the alert, null for an order of a person.
    `intent` is what the alert asks for, and once it is decided what its order does: open, add, close,
    reduce or adjust. `quantity` is known from the decision on, in `quantity_unit`: shares, percent (of the
    position) or other.
    """

    id: UUID
    seq: int
    status: Status
    source: str | None
    type: SignalType | None
    ticker: str
    intent: str | None
    quantity: Amount | None
    quantity_unit: str | None
    price: Amount | None
    reason: str
    reason_code: str | None = Field(default=None, exclude=True)
    reason_params: dict[str, Any] | None = Field(default=None, exclude=True)
    sender_signal_id: str | None
    received_at: datetime
    status_at: datetime
    expires_at: datetime
    attempts: int
    round: int


class SignalPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    signals: list[Signal]
    next_cursor: int | None


class Event(BaseModel):
    """A change of a signal: the status it entered, why, and the facts behind the reason."""

    at: datetime
    status: str
    reason: str
    reason_code: str | None = Field(default=None, exclude=True)
    reason_params: dict[str, Any] | None = Field(default=None, exclude=True)
    detail: dict[str, Any]


class Attempt(BaseModel):
    """One delivery attempt. `ended_at` null: still open. `response` is the beginning of the answer.

    `reference` is the destination's own id of the order (`id`, else `logId` of its answer), null without one.
    `intent` is the one that was sent, null for an attempt of an earlier version. `position_recorded_at`: when
    a person recorded a position of the ticker while this order was being sent; null if nobody did.
    """

    round: int
    number: int
    destination: str
    webhook_id: str
    intent: str | None
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    http_status: int | None
    error: str | None
    error_code: str | None = Field(default=None, exclude=True)
    error_params: dict[str, Any] | None = Field(default=None, exclude=True)
    response: Readable | None
    reference: str | None
    position_recorded_at: datetime | None = None


class WaitReason(BaseModel):
    """Why a signal is not decided or delivered yet, at this moment; `text` is in the reader's language.

    `code`: list, list_failing, decision (before the decision); destination (not configured), paused, circuit,
    held, attempt, gap, limit, sender (before the delivery); behind (another order of its ticker, `behind`);
    answer (a request is open).
    `until` is when the reason ends by itself, null where that is not known.
    """

    code: str
    until: datetime | None
    behind: UUID | None
    text: str


class Story(BaseModel):
    """The timeline of one signal. `body` is the alert as received, its secret removed.

    `waits` are the reasons for which it waits now, empty once it has ended.
    """

    signal: Signal
    body: Readable
    events: list[Event]
    attempts: list[Attempt]
    waits: list[WaitReason] = []


class Destination(BaseModel):
    """Where orders are delivered, and whether it accepts requests now."""

    kind: Literal["paper", "live"]
    origin: str
    state: str


class DestinationStatus(Destination):
    """One of the destinations."""

    name: str


class Metrics(BaseModel):
    """Signals of the last 24 hours by status, the two queues now, and when the last signal arrived."""

    received: int
    approved: int
    rejected: int
    forwarded: int
    failed: int
    expired: int
    processing_queue: int
    approved_queue: int
    oldest_waiting_seconds: float | None
    last_signal_at: datetime | None


class PositionsSummary(BaseModel):
    """A fingerprint of the open positions: at least one value differs after a change of them."""

    open: int
    buys: int
    newest: datetime | None


class Changes(BaseModel):
    """A fingerprint of all signals: at least one value differs after any change of a signal."""

    newest: int
    window_start: int
    window_size: int


class DeniedRequests(BaseModel):
    """Requests that this process refused and did not store, with less than 15 minutes between two.

    `kind`: a post with a wrong or missing secret, to a wrong path or without its body; a wrong token as a
    header, at the sign-in or for the live updates.
    """

    kind: Kind
    count: int
    first_at: datetime
    last_at: datetime
    last_address: str
    top_address: str


class ProcessStatus(BaseModel):
    """What the page's header shows. `mode`: `live` if any destination is. `destination` is `default`."""

    version: str
    engine_paused: bool
    buys_paused: bool
    delivery_paused: bool
    intake_paused: bool
    uptime_seconds: float
    at: datetime
    mode: Literal["paper", "live"]
    destination: Destination
    destinations: list[DestinationStatus]
    top_n_count: int
    top_n_age_seconds: float | None
    top_n_fresh: bool


class RefusedPost(BaseModel):
    """A refused post. `head` is its first 2 KB, the secret removed; `size` is in bytes."""

    id: int
    at: datetime
    status: int
    reason: str
    reason_code: str | None = Field(default=None, exclude=True)
    reason_params: dict[str, Any] | None = Field(default=None, exclude=True)
    client: str
    size: int
    head: Readable


class RefusedPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    posts: list[RefusedPost]
    next_cursor: int | None


class AuditEntry(BaseModel):
    """One change of one signal."""

    id: int
    at: datetime
    signal_id: UUID
    ticker: str
    type: SignalType | None
    status: str
    reason: str
    detail: dict[str, Any]


class AuditPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    entries: list[AuditEntry]
    next_cursor: int | None


class DeliveryOrder(BaseModel):
    """An approved signal (sent, pending, or expired before delivery) and its last attempt.

    The attempt's fields are null before the first.
    """

    id: UUID
    seq: int
    status: Status
    type: SignalType | None
    ticker: str
    price: Amount | None
    reason: str
    reason_code: str | None = Field(default=None, exclude=True)
    reason_params: dict[str, Any] | None = Field(default=None, exclude=True)
    received_at: datetime
    status_at: datetime
    attempts: int
    round: int
    destination: str | None
    outcome: Outcome | None
    http_status: int | None
    ended_at: datetime | None


class OrderPage(BaseModel):
    """Newest first. `next_cursor` is what to ask for next, null on the last page."""

    orders: list[DeliveryOrder]
    next_cursor: int | None


class OrderStats(BaseModel):
    """Orders of one type by status. The seconds are from arrival to delivery, null without a delivery."""

    type: SignalType | None
    orders: int
    waiting: int
    forwarded: int
    failed: int
    expired: int
    median_seconds: float | None
    p95_seconds: float | None


class Hour(BaseModel):
    """The signals that arrived in the hour that begins at `hour`, by status; the seconds are until delivery.

    `approved` counts those that are pending, were delivered, failed, or expired after their approval.
    """

    hour: datetime
    received: int
    approved: int
    rejected: int
    forwarded: int
    failed: int
    expired: int
    median_seconds: float | None
    p95_seconds: float | None
