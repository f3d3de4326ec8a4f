"""Which signals a list, an export or a replay is about. Pure."""

import re
from datetime import datetime
from typing import Literal, NamedTuple

from app.signals.tickers import fold, without_exchange

Side = Literal["buy", "sell"]

SEARCH_LENGTH = 200
_SHORTEST_SENDER_ID = 3  # characters: fewer would find most signals
_ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")


class SignalFilter(NamedTuple):
    """Conditions that signals must meet; None, or no status, leaves a condition out.

    `search` is the beginning of a ticker, of a signal's id (8 characters at least) or of the sender's id (3).
    `start` and `end` are about the arrival; `end` itself is excluded. `side` "sell" is every type but buy.
    `outcome` is that of the last attempt; `destination` is the name of one that has an order, or the origin
    (or `paper`) of the last attempt.
    """

    statuses: tuple[str, ...] = ()
    ticker: str | None = None
    source: str | None = None
    search: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    side: Side | None = None
    outcome: str | None = None
    destination: str | None = None

    @property
    def arguments(self) -> tuple[object, ...]:
        """The parameters $1 to $11 of each statement that applies the filter."""
        text = (self.search or "").replace("\0", "").strip()[:SEARCH_LENGTH]
        ticker = (fold(without_exchange(text)) or fold(text))[:40]  # an exchange alone finds nothing
        sender_id = text if len(text) >= _SHORTEST_SENDER_ID else None
        signal_id = text.lower() if _ID.fullmatch(text.lower()) else None
        searched = (ticker, sender_id, signal_id) if text else (None, None, None)
        period = (self.start, self.end)
        attempt = (self.outcome, self.destination)
        return (list(self.statuses), self.ticker, self.source, *searched, *period, self.side, *attempt)
