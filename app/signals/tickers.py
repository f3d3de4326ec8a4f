"""The forms of a ticker: as a sender spells it, and the one by which tickers are compared. Pure."""

import re

CHARACTERS = r"[^\x00-\x1f\x7f]{1,40}"
PATTERN = f"^{CHARACTERS}$"

_LONGEST = 40
_EXCHANGE = re.compile(r"[A-Z0-9_]{1,20}:")
_SEPARATORS = str.maketrans("./", "--")


def without_exchange(symbol: str) -> str:
    """Return the ticker of a symbol as charting platforms write it: `NASDAQ:AAPL` is AAPL."""
    upper = symbol.strip().upper()
    exchange = _EXCHANGE.match(upper)
    return upper[exchange.end() :].lstrip() if exchange else upper


def is_ticker(text: str) -> bool:
    """Return whether a text can be a ticker: 1 to 40 printable characters."""
    return 0 < len(text) <= _LONGEST and text.isprintable()


def fold(ticker: str) -> str:
    """Return the form by which tickers are compared and stored: BRK.B and BRK/B are BRK-B."""
    return ticker.upper().translate(_SEPARATORS)
