"""The words that are stored, sent and counted: statuses, types, results and outcomes. Pure."""

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
    """What a signal orders. Whatever is not a buy closes something."""

    BUY = "buy"
    SELL = "sell"
    MANUAL_SELL = "manual_sell"
    POSITION_CLOSE = "position_close"
    SELL_ALL = "sell_all"


class DecisionResult(StrEnum):
    """The status that a decision leads to; the value is that of `Status`."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Outcome(StrEnum):
    """What became of one delivery attempt."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # the destination has it and will not act on it
    NOT_TAKEN = "not_taken"  # the destination certainly did nothing with it
    UNKNOWN = "unknown"  # the destination may have acted on it
