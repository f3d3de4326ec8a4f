"""The position book: what a delivered order does to the position of its ticker. Pure.

A ticker has at most one open position (a unique index ensures it), which counts its buys. The statement that
writes a delivery's outcome applies the effect in the same transaction (`app/orders/queries.sql`).
"""

from enum import StrEnum

from app.signals.statuses import SignalType


class Effect(StrEnum):
    """The effect of a delivered order on the position of its ticker."""

    OPENS = "opens"  # if a position is open already, it counts one more buy
    CLOSES = "closes"  # no effect if no position is open
    NOTHING = "nothing"


def effect_of(order_type: str, *, has_quantity: bool, close_on_partial: bool) -> Effect:
    """Return the effect of an order once it is delivered.

    A sell with a quantity may be partial. With `close_on_partial`, the default, it closes the position;
    otherwise the position stays open.
    """
    if order_type == SignalType.BUY:
        return Effect.OPENS
    return Effect.NOTHING if has_quantity and not close_on_partial else Effect.CLOSES
