"""A model of the broker bridge TradersPost with one account: its orders and its holdings. Pure.

It trades long and short. Behaviour that its reference does not define is a setting of the account.
"""

from __future__ import annotations

import json
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any, NamedTuple

ACTIONS = ("buy", "sell", "exit", "cancel", "add")
LONG, SHORT, FLAT = ("bullish", "long"), ("bearish", "short"), ("flat",)
QUANTITY_TYPES = (
    "fixed_quantity",
    "dollar_amount",
    "risk_dollar_amount",
    "percent_of_equity",
    "percent_of_position",
)
DEFAULT_QUANTITY = Decimal(7)  # of an entry without one, or in another unit than shares


class Account(NamedTuple):
    """The settings of a subscription."""

    allows_adding: bool = False  # a `buy` with a long position, a `sell` with a short one
    refuses_large_exits: bool = False  # an exit of at least what is held, instead of closing


class Answer(NamedTuple):
    """An HTTP answer. 200 means accepted, not that something was traded."""

    status: int
    body: bytes


class Broker:
    """The broker, with its holdings by ticker, negative for a short position."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._held: dict[str, Decimal] = {}
        self.fills: list[tuple[str, Decimal]] = []  # ticker and shares, negative for a sale
        self.bodies: list[dict[str, Any]] = []

    def held(self, ticker: str) -> Decimal:
        """Return the number of shares."""
        return self._held.get(ticker, Decimal(0))

    def receive(self, body: bytes) -> Answer:
        """Execute a request's body, or refuse it."""
        fields = json.loads(body)
        self.bodies.append(fields)
        if problem := self._problem(fields):
            return Answer(400, json.dumps({"success": False, "messageCode": problem}).encode())
        before = self.held(fields["ticker"])
        after = self._held[fields["ticker"]] = self._after(fields, before)
        if after != before:
            self.fills.append((fields["ticker"], after - before))
        reference = str(len(self.bodies))
        return Answer(200, json.dumps({"success": True, "id": reference, "logId": reference}).encode())

    def _problem(self, fields: dict[str, Any]) -> str | None:
        action, sentiment = fields.get("action"), fields.get("sentiment")
        checks = {
            "missing-ticker": bool(fields.get("ticker")),
            "invalid-action": action in ACTIONS,
            "invalid-sentiment": sentiment in {None, *LONG, *SHORT, *FLAT},
            "sentiment-not-allowed": sentiment is None or action in {"buy", "sell"},
            "invalid-quantity-type": fields.get("quantityType") in {None, *QUANTITY_TYPES},
            "invalid-quantity": _is_quantity(fields.get("quantity")),
        }
        if problem := next((name for name, passes in checks.items() if not passes), None):
            return problem
        held = abs(self.held(fields["ticker"]))
        is_too_large = action == "exit" and 0 < held <= (_exit_quantity(fields, held) or 0)
        return "quantity-too-large" if is_too_large and self._account.refuses_large_exits else None

    def _after(self, fields: dict[str, Any], held: Decimal) -> Decimal:
        match fields["action"]:
            case "buy":
                return self._traded(fields, held, LONG, SHORT)
            case "sell":
                return -self._traded(fields, -held, SHORT, LONG)
            case "add":
                return held + (_shares(fields) if held > 0 else -_shares(fields) if held < 0 else 0)
            case "exit":
                sold = _exit_quantity(fields, abs(held))
                left = Decimal(0) if sold is None else max(abs(held) - sold, Decimal(0))
                return left.copy_sign(held) if left else Decimal(0)
            case _:
                return held

    def _traded(
        self, fields: dict[str, Any], held: Decimal, side: tuple[str, ...], other: tuple[str, ...]
    ) -> Decimal:
        """Return the position after `buy`; for `sell`, the caller inverts the signs."""
        sentiment = fields.get("sentiment")
        if sentiment in FLAT:
            return max(held, Decimal(0))
        if sentiment in other:
            sold = _exit_quantity(fields, -held)
            return held if sold is None or held >= 0 else min(held + sold, Decimal(0))
        if held > 0 and not self._account.allows_adding:
            return held
        assert sentiment is None or sentiment in side
        return max(held, Decimal(0)) + _shares(fields)


def _is_quantity(value: object) -> bool:
    if value is None:
        return True
    try:
        return not isinstance(value, bool) and Decimal(str(value)) > 0
    except InvalidOperation:
        return False


def _shares(fields: dict[str, Any]) -> Decimal:
    """Return the size of an entry."""
    if fields.get("quantity") is None or fields.get("quantityType") not in {None, "fixed_quantity"}:
        return DEFAULT_QUANTITY
    return Decimal(str(fields["quantity"]))


def _exit_quantity(fields: dict[str, Any], held: Decimal) -> Decimal | None:
    """Return how many shares an exit ends, None for all; a percentage is rounded to whole shares."""
    if fields.get("quantity") is None:
        return None
    quantity = Decimal(str(fields["quantity"]))
    match fields.get("quantityType"):
        case None | "fixed_quantity":
            return quantity
        case "percent_of_position":
            exact = held * quantity / 100
            return exact.quantize(Decimal(1), ROUND_DOWN) if quantity < 100 else held
        case _:
            return min(held, DEFAULT_QUANTITY)
