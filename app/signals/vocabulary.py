"""From a trader's words to the type of an order. Pure."""

from typing import NamedTuple

from app.signals.statuses import SignalType

_BUY = frozenset({"buy", "long", "enter"})
_SELL = frozenset({"sell", "exit", "close"})
_SHORT = frozenset({"short", "cover"})


class Order(NamedTuple):
    """The type, or None with the reason why none can be read."""

    type: SignalType | None
    reason: str = ""


def read_order(action: str | None, side: str | None) -> Order:
    """Read the order from `action` and `side`; None or whitespace is absent; case and whitespace are ignored.

    `action` decides, `side` only without it. `side: long` beside a sell closes the long position and is
    no contradiction; `action: buy` with `side: sell` is one, and `short` or `cover` anywhere is not ours.
    """
    action, side = _word(action), _word(side)
    for field, word in (("action", action), ("side", side)):
        if word in _SHORT:
            return Order(None, f"{field} is '{word}': short selling is not supported")
    field, word = ("action", action) if action else ("side", side)
    if not word:
        return Order(None, "neither action nor side says buy or sell")
    if word in _BUY:
        if action and side in _SELL:
            return Order(None, f"action '{action}' contradicts side '{side}'")
        return Order(SignalType.BUY)
    if word in _SELL:
        return Order(SignalType.SELL)
    shown = word[:40].replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL's texts hold none
    return Order(None, f"{field} '{shown}' is no known word for buying or selling")


def _word(text: str | None) -> str:
    return "".join(text.split()).lower() if text else ""
