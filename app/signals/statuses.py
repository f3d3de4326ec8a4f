"""Enumerations of stored values: statuses, types, decision results and outcomes. Pure."""

from enum import StrEnum


class Status(StrEnum):
    """A signal's status."""

    RECEIVED = "received"
    APPROVED = "approved"
    REJECTED = "rejected"
    FORWARDING = "forwarding"
    FORWARDED = "forwarded"
    FAILED = "failed"
    EXPIRED = "expired"


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
