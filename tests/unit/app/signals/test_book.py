"""What an order does to its ticker's position."""

from __future__ import annotations

import pytest

from app.signals.book import Effect, effect_of
from app.signals.reading import Intent


@pytest.mark.parametrize(
    ("order_type", "intent", "close_on_partial", "effect"),
    [
        ("buy", "open", True, Effect.OPENS),
        ("buy", "add", False, Effect.OPENS),
        ("sell", "close", True, Effect.CLOSES),
        ("sell", "close", False, Effect.CLOSES),
        ("sell", "reduce_or_close", True, Effect.CLOSES),
        ("sell", "reduce_or_close", False, Effect.NOTHING),
        ("sell", "reduce", True, Effect.NOTHING),
        ("sell", "reduce", False, Effect.NOTHING),
        ("sell", "adjust", True, Effect.NOTHING),
        ("manual_sell", "close", True, Effect.CLOSES),
        ("position_close", "close", False, Effect.CLOSES),
        ("sell_all", "close", False, Effect.CLOSES),
    ],
)
def test_effects(order_type: str, intent: str, *, close_on_partial: bool, effect: Effect) -> None:
    assert effect_of(order_type, Intent(intent), close_on_partial=close_on_partial) is effect
