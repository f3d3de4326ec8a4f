"""What an order does to its ticker's position."""

from __future__ import annotations

import pytest

from app.signals.book import Effect, effect_of


@pytest.mark.parametrize(
    ("order_type", "has_quantity", "close_on_partial", "effect"),
    [
        ("buy", False, True, Effect.OPENS),
        ("buy", True, False, Effect.OPENS),
        ("sell", False, True, Effect.CLOSES),
        ("sell", True, True, Effect.CLOSES),
        ("sell", True, False, Effect.NOTHING),
        ("sell", False, False, Effect.CLOSES),
        ("manual_sell", False, True, Effect.CLOSES),
        ("position_close", False, True, Effect.CLOSES),
        ("sell_all", False, True, Effect.CLOSES),
    ],
)
def test_effects(order_type: str, *, has_quantity: bool, close_on_partial: bool, effect: Effect) -> None:
    assert effect_of(order_type, has_quantity=has_quantity, close_on_partial=close_on_partial) is effect
