"""Enumerations of stored values: statuses, types, decision results and outcomes. Pure."""

from enum import StrEnum

from msgspec import Struct


class Status(StrEnum):
    """A signal's status."""

    RECEIVED = "received"
    APPROVED = "approved"
    REJECTED = "rejected"
    FORWARDING = "forwarding"
    FORWARDED = "forwarded"
    FAILED = "failed"
    EXPIRED = "expired"


class OrderStatus(StrEnum):
    """An order's status. A signal's status follows from those of its orders."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REJECTED = "rejected"


class SignalType(StrEnum):
    """The type of a signal: `BUY` is an entry, every other type an exit.

    An exit closes or reduces a position, or adjusts its orders (`Intent` in `app.signals.reading`).
    """

    BUY = "buy"
    SELL = "sell"
    MANUAL_SELL = "manual_sell"
    POSITION_CLOSE = "position_close"
    SELL_ALL = "sell_all"


class DecisionResult(StrEnum):
    """The status that a decision results in; a subset of `Status` with the same values."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Outcome(StrEnum):
    """The outcome of one delivery attempt."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # the destination received it and will not execute it
    NOT_TAKEN = "not_taken"  # not accepted: the destination certainly did not execute it
    UNKNOWN = "unknown"  # the destination may have executed it


class RetryUnknown(Struct, frozen=True, kw_only=True):
    """Whether an order whose outcome is unknown is retried, with the same `webhook-id`: the setting.

    A buy that is executed twice costs money, so by default buys are not. A second sell finds nothing left to
    sell, and a sell that never arrived leaves a position open, so by default sells are.
    """

    buy: bool
    sell: bool
