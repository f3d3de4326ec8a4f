"""What a what-if finds: both ways of deciding, the signals that differ, and what they came to. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal
from uuid import UUID

from app.decision.what_if_record import RecordedSignal
from app.signals.amounts import Amount
from app.signals.book import OrderTerms, Position, apply, realized_by_close
from app.signals.reading import ENTRIES
from app.signals.statuses import DecisionResult, Outcome

MOST_DIFFERENCES = 500  # that are listed; all of them are counted

_EXACT = Context(prec=400)


@dataclass(slots=True)
class Verdict:
    """A decision: its status, the reason, and the rank of the ticker, null if it is not listed.

    The status `skipped`: the buy would not be reprocessed, as `reason` says.
    """

    status: str
    reason: str
    rank: int | None


@dataclass(slots=True)
class Difference:
    """A signal that is decided otherwise.

    `result` is what came of the position that it opened or added to where it is approved, by the prices of
    alerts; null while that is open or unknown.
    """

    signal_id: UUID
    ticker: str
    at: datetime
    type: str
    price: Amount | None
    then: Verdict
    now: Verdict
    result: Amount | None = None


@dataclass(slots=True)
class Side:
    """What was, or would be, decided, and what it came to by the prices of alerts, not by fills.

    Trades are positions that alerts opened and closed in this time, at each destination. `unknown` counts
    those without a known result; `result` adds up the others.
    """

    approved: int = 0
    rejected: int = 0
    expired: int = 0
    trades: int = 0
    gains: int = 0
    losses: int = 0
    unknown: int = 0
    open: int = 0
    result: Amount | None = None

    def count(self, status: str) -> None:
        """Count a decision."""
        self.approved += status == DecisionResult.APPROVED
        self.rejected += status == DecisionResult.REJECTED
        self.expired += status == DecisionResult.EXPIRED


@dataclass(slots=True)
class ListGaps:
    """Buys whose decision is assumed to stay as it was, because the list they need is not kept.

    `too_shallow`: fewer tickers were stored than the Top-N asks for. `no_list`: none of the strategy. `first`
    and `last` are the times of such decisions.
    """

    too_shallow: int = 0
    no_list: int = 0
    first: datetime | None = None
    last: datetime | None = None


@dataclass(slots=True)
class Comparison:
    """Both ways. `reproduced` counts decisions that the rules of then give again: normally all `decisions`.

    `removed` counts signals that cannot be decided again: they, or others of their batch, are removed.
    """

    decisions: int = 0
    reproduced: int = 0
    removed: int = 0
    then: Side = field(default_factory=Side)
    now: Side = field(default_factory=Side)
    newly_approved: int = 0
    no_longer_approved: int = 0
    otherwise: int = 0
    differences: list[Difference] = field(default_factory=list)
    gaps: ListGaps = field(default_factory=ListGaps)


@dataclass(slots=True)
class _Held:
    position: Position
    differences: list[Difference]


class AlertTrades:
    """The positions that alerts open and close one way, and what they come to."""

    def __init__(self, side: Side) -> None:
        self.held: dict[tuple[str, str], _Held] = {}  # by destination and ticker
        self._side = side

    def order(
        self, recorded: RecordedSignal, destination: str, terms: OrderTerms, difference: Difference | None
    ) -> None:
        """Apply an order of a signal at the alert's price. `difference` is None where none is listed."""
        place, terms = (destination, recorded.signal.ticker), terms._replace(price=recorded.price)
        held = self.held.get(place)
        before = held.position if held else None
        after = apply(terms, Outcome.DELIVERED, before)
        if after is not None:
            if held is None:
                held = self.held[place] = _Held(after, [])
            held.position = after
            if difference is not None and terms.intent in ENTRIES:
                held.differences.append(difference)
        elif held is not None:
            del self.held[place]
            self._close(held, realized_by_close(terms, held.position))

    def _close(self, held: _Held, result: Decimal | None) -> None:
        side = self._side
        side.trades += 1
        for difference in held.differences:
            difference.result = result
        if result is None:
            side.unknown += 1
            return
        side.gains += result > 0
        side.losses += result < 0
        side.result = result if side.result is None else _EXACT.add(side.result, result)
