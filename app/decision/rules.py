"""The rule that approves or rejects. Pure: every fact is handed in."""

from dataclasses import dataclass
from typing import Any, Literal

from app.signals.statuses import DecisionResult, SignalType

DuplicateBuys = Literal["forward", "reject"]


@dataclass(frozen=True, slots=True)
class TickerFacts:
    """What is known of a signal's ticker while it is decided.

    `rank` counts from 1, None when the ticker is not in the list; `size` and `age_seconds` describe the list,
    None when there is none. `opening`: a buy of the ticker is on the way to the destination.
    """

    is_open: bool
    opening: bool
    rank: int | None
    size: int | None
    age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The status that follows, why in words a trader reads, and the facts behind it."""

    status: DecisionResult
    reason: str
    detail: dict[str, Any]


def decide(
    order_type: str, facts: TickerFacts, *, overdue: bool, duplicate_buys: DuplicateBuys = "forward"
) -> Decision:
    """Decide one signal. A buy is handed in only while the list is fresh: else it waits."""
    if overdue:
        return Decision(DecisionResult.EXPIRED, "too old before it could be decided", {})
    if order_type == SignalType.BUY:
        return _decide_buy(facts, duplicate_buys)
    return _decide_sell(order_type, facts)


def _decide_buy(facts: TickerFacts, duplicate_buys: DuplicateBuys) -> Decision:
    detail = {
        "rank": facts.rank,
        "list_size": facts.size,
        "list_age_seconds": None if facts.age_seconds is None else round(facts.age_seconds, 1),
    }
    if facts.rank is None:
        return Decision(DecisionResult.REJECTED, f"not in the Top-{facts.size}", detail)
    if duplicate_buys == "reject" and (facts.is_open or facts.opening):
        why = "a position is open" if facts.is_open else "a buy is on its way"
        return Decision(DecisionResult.REJECTED, f"{why} already, and duplicate buys are rejected", detail)
    return Decision(DecisionResult.APPROVED, f"rank {facts.rank} of {facts.size}", detail)


def _decide_sell(order_type: str, facts: TickerFacts) -> Decision:
    detail = {"position_open": facts.is_open, "buy_on_its_way": facts.opening}
    if order_type == SignalType.MANUAL_SELL:
        return Decision(DecisionResult.APPROVED, "ordered by a person", detail)
    if facts.is_open:
        return Decision(DecisionResult.APPROVED, "a position is open", detail)
    if facts.opening:
        return Decision(DecisionResult.APPROVED, "its buy is on its way", detail)
    return Decision(DecisionResult.REJECTED, "no position is open and no buy is on its way", detail)
