"""The position book: what a delivered order does to the position of its ticker. Pure.

A ticker has at most one open position (a unique index ensures it), which counts its buys. The statement that
writes a delivery's outcome applies the effect in the same transaction (`app/orders/queries.sql`).
"""

from enum import StrEnum

from app.signals.reading import Intent
from app.signals.statuses import SignalType


class Effect(StrEnum):
    """The effect of a delivered order on the position of its ticker."""

    OPENS = "opens"  # if a position is open already, it counts one more buy
    CLOSES = "closes"  # no effect if no position is open
    NOTHING = "nothing"


def effect_of(order_type: str, intent: Intent | None, *, close_on_partial: bool) -> Effect:
    """Return the effect of an order once it is delivered.

    With `close_on_partial`, the default, an exit with a quantity closes the position, unless the alert says
    that the position stays open.
    """
    if order_type == SignalType.BUY:
        return Effect.OPENS
    is_partial = intent is Intent.REDUCE_OR_CLOSE and not close_on_partial
    return Effect.NOTHING if is_partial or intent in {Intent.REDUCE, Intent.ADJUST} else Effect.CLOSES
