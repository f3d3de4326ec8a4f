"""The rule that approves or rejects a signal. Pure: the caller passes every fact."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from app.signals.reading import Intent
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import DecisionResult, SignalType

DuplicateBuys = Literal["forward", "reject"]


class TickerFacts(NamedTuple):
    """What is known of a signal's ticker at the time of the decision.

    `has_pending_buy`: a buy of the ticker is approved and its delivery has not ended. `rank` counts from 1;
    None if the ticker is not in the list. `list_size` and `list_age_seconds` are None if there is no list.
    """

    is_open: bool
    has_pending_buy: bool
    rank: int | None
    list_size: int | None
    list_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The signal's new status, the reason, and the facts behind it."""

    status: DecisionResult
    reason: Reason
    detail: dict[str, Any]


def decide(
    signal_type: str,
    facts: TickerFacts,
    *,
    is_expired: bool,
    intent: str | None = None,
    duplicate_buys: DuplicateBuys = "forward",
) -> Decision:
    """Decide one signal. The caller passes a buy only while the list is fresh; until then the buy waits."""
    if is_expired:
        return Decision(DecisionResult.EXPIRED, Reason(ReasonCode.EXPIRED_UNDECIDED), {})
    if signal_type == SignalType.BUY:
        return _decide_buy(facts, intent, duplicate_buys)
    return _decide_sell(signal_type, facts)


def _decide_buy(facts: TickerFacts, intent: str | None, duplicate_buys: DuplicateBuys) -> Decision:
    age = facts.list_age_seconds
    detail = {
        "rank": facts.rank,
        "list_size": facts.list_size,
        "list_age_seconds": None if age is None else round(age, 1),
    }
    if facts.rank is None:
        return Decision(DecisionResult.REJECTED, Reason(ReasonCode.NOT_LISTED, size=facts.list_size), detail)
    is_held = facts.is_open or facts.has_pending_buy
    if intent == Intent.ADD and not is_held:
        return Decision(DecisionResult.REJECTED, Reason(ReasonCode.NOTHING_TO_ADD_TO), detail)
    if duplicate_buys == "reject" and is_held and intent != Intent.ADD:
        why = Reason(ReasonCode.POSITION_OPEN if facts.is_open else ReasonCode.BUY_PENDING)
        return Decision(DecisionResult.REJECTED, Reason(ReasonCode.DUPLICATE_BUY, reason=why), detail)
    return Decision(
        DecisionResult.APPROVED, Reason(ReasonCode.RANK, rank=facts.rank, size=facts.list_size), detail
    )


def _decide_sell(signal_type: str, facts: TickerFacts) -> Decision:
    detail = {"position_open": facts.is_open, "buy_on_its_way": facts.has_pending_buy}
    if signal_type == SignalType.MANUAL_SELL:
        return Decision(DecisionResult.APPROVED, Reason(ReasonCode.BY_PERSON), detail)
    if facts.is_open:
        return Decision(DecisionResult.APPROVED, Reason(ReasonCode.POSITION_OPEN), detail)
    if facts.has_pending_buy:
        return Decision(DecisionResult.APPROVED, Reason(ReasonCode.ITS_BUY_PENDING), detail)
    return Decision(DecisionResult.REJECTED, Reason(ReasonCode.NOTHING_OPEN), detail)
