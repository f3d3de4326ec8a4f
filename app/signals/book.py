"""The position's state machine. Pure.

A ticker has no open position or one, and that one counts its buys. What an order does is decided here; the
statement that writes a delivery's outcome applies it in the same transaction (`delivered` in
`app/orders/queries.sql`), and a unique index keeps it at one open position per ticker.
"""

from enum import StrEnum

from app.signals.statuses import SignalType


class Effect(StrEnum):
    """What a delivered order does to the position of its ticker."""

    OPENS = "opens"  # or counts one buy more where a position is open
    CLOSES = "closes"  # nothing where none is open
    NOTHING = "nothing"


def effect_of(order_type: str, *, has_quantity: bool, close_on_partial: bool) -> Effect:
    """Say what the order does once it is delivered.

    A sell that names a quantity may leave a rest; by default it counts as closing, with
    `close_on_partial` off the position stays open.
    """
    if order_type == SignalType.BUY:
        return Effect.OPENS
    return Effect.NOTHING if has_quantity and not close_on_partial else Effect.CLOSES
