"""SPEC §8: one vocabulary; `action` decides, `side` only without it."""

import pytest

from app.signals.vocabulary import read_order


@pytest.mark.parametrize(
    ("action", "side", "expected"),
    [
        ("buy", None, "buy"),
        (" LONG ", None, "buy"),
        ("En ter", "", "buy"),
        ("sell", None, "sell"),
        ("exit", "long", "sell"),
        ("close", "long", "sell"),
        ("buy", "long", "buy"),
        (None, "buy", "buy"),
        ("", "sell", "sell"),
        (None, "long", "buy"),
        (None, "close", "sell"),
        ("sell", "flat", "sell"),
    ],
)
def test_orders(action: str | None, side: str | None, expected: str) -> None:
    assert read_order(action, side) == (expected, "")


@pytest.mark.parametrize(
    ("action", "side", "reason"),
    [
        ("short", None, "action is 'short'"),
        ("cover", "buy", "action is 'cover'"),
        ("sell", "short", "side is 'short'"),
        ("buy", "sell", "contradicts"),
        ("long", "exit", "contradicts"),
        (None, None, "neither action nor side"),
        (" ", "", "neither action nor side"),
        ("hold", "buy", "action 'hold' is no known word"),
        (None, "5", "side '5' is no known word"),
        ("b\0y", None, "action 'b\N{REPLACEMENT CHARACTER}y' is no known word"),
    ],
)
def test_what_is_no_order_says_why(action: str | None, side: str | None, reason: str) -> None:
    order = read_order(action, side)
    assert order.type is None
    assert reason in order.reason
