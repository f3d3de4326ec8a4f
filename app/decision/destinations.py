"""The decisions of a batch at every destination, each on its own books, and the orders they make. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from app.decision.batch import ClaimedSignal, TickerBook, decide_in_order
from app.decision.risk import RiskBook
from app.decision.rules import Decision
from app.signals.book import BookRules, OrderTerms
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import DecisionResult


class DestinationBooks(NamedTuple):
    """A destination, whether it takes an alert of a source and ticker, and what it is decided by there."""

    name: str
    takes: Callable[[str, str], bool]
    books: Mapping[str, TickerBook]
    risk: RiskBook


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
    """Decide each signal at each destination that takes it.

    A signal is approved if one destination approves it, with the reason of the first. An exit that finds
    nothing open at one destination makes no order there, if it finds something at another.
    """
    found: dict[UUID, list[tuple[str, Decision]]] = {signal.id: [] for signal in signals}
    overtaken = list[Overtaken]()
    for each in destinations:
        taken = [signal for signal in signals if each.takes(signal.source, signal.ticker)]
        decisions, entries, exits = decide_in_order(taken, each.books, rules, each.risk)
        for signal, decision in zip(taken, decisions, strict=True):
            found[signal.id].append((each.name, decision))
        if entries or exits:
            overtaken.append(Overtaken(each.name, entries, exits))
    decisions, orders = list[Decision](), list[list[NewOrder]]()
    for signal in signals:
        decision, made = _combined(found[signal.id], is_expired=signal.is_expired)
        decisions.append(decision)
        orders.append(made)
    return Decided(decisions, orders, overtaken)


def _combined(found: Sequence[tuple[str, Decision]], *, is_expired: bool) -> tuple[Decision, list[NewOrder]]:
    if not found:
        return (_EXPIRED if is_expired else _NO_DESTINATION), []
    approved = [(name, decision) for name, decision in found if decision.terms is not None]
    matched = [each for each in approved if each[1].reason.code is not ReasonCode.UNMATCHED]
    chosen = matched or approved
    orders = [NewOrder(name, decision.terms) for name, decision in chosen if decision.terms is not None]
    return (chosen or found)[0][1], orders
