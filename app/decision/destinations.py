"""The decisions of a batch at every destination, each on its own books, and the orders they make. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from app.decision.batch import ClaimedSignal, TickerBook, decide_in_order, decide_reprocessed
from app.decision.risk import RiskBook
from app.decision.rules import Decision
from app.signals.book import BookRules, OrderTerms
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import DecisionResult


class DestinationBooks(NamedTuple):
    """A destination, what of a batch it takes, and what that is decided by there.

    `is_configured` False: it is not in the configuration any more. It takes nothing, and the exits of what is
    open there wait until it is configured again.
    """

    name: str
    takes: Callable[[ClaimedSignal], bool]
    books: Mapping[str, TickerBook]
    risk: RiskBook
    is_configured: bool = True


class NewOrder(NamedTuple):
    """An order to make at a destination."""

    destination: str
    terms: OrderTerms


class Overtaken(NamedTuple):
    """What exits have overtaken at a destination.

    `entries` are those that are known; `exits` the `seq` of such an exit by ticker, where its book does not
    have all of them.
    """

    destination: str
    entries: list[UUID]
    exits: dict[str, int]


class Decided(NamedTuple):
    """The decisions in the order of the signals, the orders of each signal, and what exits have overtaken."""

    decisions: list[Decision]
    orders: list[list[NewOrder]]
    overtaken: list[Overtaken]


_NO_DESTINATION = Decision(DecisionResult.REJECTED, Reason(ReasonCode.NO_DESTINATION), {})
_EXPIRED = Decision(DecisionResult.EXPIRED, Reason(ReasonCode.EXPIRED_UNDECIDED), {})


def decide_everywhere(
    signals: Sequence[ClaimedSignal], destinations: Sequence[DestinationBooks], rules: BookRules
) -> Decided:
    """Decide each signal at each destination that takes it, an exit wherever its ticker is held.

    A signal is approved if one destination approves it, with the reason of the first. An exit that finds
    nothing open at one destination makes no order there, if it finds something at another.
    """
    found: dict[UUID, list[tuple[DestinationBooks, Decision]]] = {signal.id: [] for signal in signals}
    overtaken = list[Overtaken]()
    for each in destinations:
        there = decide_in_order(signals, each.books, rules, each.risk, each.takes)
        for decided, decision in there.decisions.items():
            found[decided].append((each, decision))
        if there.overtaken or there.exits:
            overtaken.append(Overtaken(each.name, there.overtaken, there.exits))
    decisions, orders = list[Decision](), list[list[NewOrder]]()
    for signal in signals:
        decision, made = _combined(found[signal.id], is_expired=signal.is_expired)
        decisions.append(decision)
        orders.append(made)
    return Decided(decisions, orders, overtaken)


def decide_reprocessed_everywhere(
    signals: Sequence[ClaimedSignal], destinations: Sequence[DestinationBooks], why: ReasonCode
) -> Decided:
    """Decide rejected buys again at each destination that takes them and holds nothing of their tickers."""
    found: dict[UUID, list[tuple[DestinationBooks, Decision]]] = {signal.id: [] for signal in signals}
    for each in destinations:
        taken = [signal for signal in signals if each.takes(signal)]
        for signal, decision in zip(taken, decide_reprocessed(taken, why, each.risk), strict=True):
            found[signal.id].append((each, decision))
    combined = [_combined(found[signal.id], is_expired=False) for signal in signals]
    return Decided([decision for decision, _ in combined], [made for _, made in combined], [])


def _combined(
    found: Sequence[tuple[DestinationBooks, Decision]], *, is_expired: bool
) -> tuple[Decision, list[NewOrder]]:
    if not found:
        return (_EXPIRED if is_expired else _NO_DESTINATION), []
    approved = [(place, decision) for place, decision in found if decision.terms is not None]
    matched = [each for each in approved if each[1].reason.code is not ReasonCode.UNMATCHED]
    # Fails open: what waits for a destination's configuration keeps no exit from those that can get it.
    chosen = matched if any(place.is_configured for place, _ in matched) else approved
    orders = [
        NewOrder(place.name, decision.terms) for place, decision in chosen if decision.terms is not None
    ]
    configured = [each for each in chosen or found if each[0].is_configured]
    if configured:
        return configured[0][1], orders
    place, decision = (chosen or found)[0]
    if orders:
        reason = Reason(ReasonCode.DESTINATION_MISSING, destination=place.name)
        decision = replace(decision, reason=reason)
    return decision, orders
