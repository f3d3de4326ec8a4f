"""The rule that approves or rejects a signal. Pure: the caller passes every fact."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from app.decision.risk import UNRESTRICTED, EntryFacts
from app.signals.book import Book, BookRules, OrderTerms, Resolution, resolve
from app.signals.reading import ENTRIES, Reading
from app.signals.reasons import Reason, ReasonCode, remark_details
from app.signals.statuses import DecisionResult, SignalType


class ListFacts(NamedTuple):
    """What the list says of a signal's ticker. `rank` counts from 1; None if the ticker is not in the list.

    `list_size` and `list_age_seconds` are None if there is no list.
    """

    rank: int | None
    list_size: int | None
    list_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The signal's new status, the reason, and the facts behind it.

    `terms` are those of the order to make, None if there is none.
    """

    status: DecisionResult
    reason: Reason
    detail: dict[str, Any]
    terms: OrderTerms | None = None


OVERTAKEN = Decision(DecisionResult.REJECTED, Reason(ReasonCode.OVERTAKEN), {})


def decide(
    signal_type: str,
    reading: Reading,
    book: Book,
    facts: ListFacts,
    rules: BookRules,
    *,
    is_expired: bool,
    risk: EntryFacts = UNRESTRICTED,
) -> Decision:
    """Decide one signal. The caller passes a buy only while the list is fresh; until then the buy waits.

    An exit needs no list, and no risk rule is applied to it: it passes where something is, may be or is about
    to be open.
    """
    if is_expired:
        return Decision(DecisionResult.EXPIRED, Reason(ReasonCode.EXPIRED_UNDECIDED), {})
    is_entry = signal_type == SignalType.BUY and reading.intent in ENTRIES
    if is_entry and (refused := risk.refuse_at_once()):
        return Decision(DecisionResult.REJECTED, refused, _list_detail(facts))
    if signal_type == SignalType.BUY and facts.rank is None:
        reason = Reason(ReasonCode.NOT_LISTED, size=facts.list_size)
        return Decision(DecisionResult.REJECTED, reason, _list_detail(facts))
    resolution = resolve(reading, book, rules)
    detail = _list_detail(facts) if signal_type == SignalType.BUY else _book_detail(book)
    detail |= remark_details(resolution.remarks[len(reading.remarks) :])
    if resolution.intent is None:
        return Decision(DecisionResult.REJECTED, resolution.reason or _NOTHING_OPEN, detail)
    if is_entry and (refused := risk.refuse_by_counts(book)):
        return Decision(DecisionResult.REJECTED, refused, detail)
    detail["intent"] = resolution.intent.value
    reason = resolution.reason or Reason(ReasonCode.RANK, rank=facts.rank, size=facts.list_size)
    return Decision(DecisionResult.APPROVED, reason, detail, terms_of(reading, resolution))


def terms_of(reading: Reading, resolution: Resolution) -> OrderTerms | None:
    """Return the terms of the order that a resolution makes."""
    if resolution.intent is None:
        return None
    return OrderTerms(resolution.intent, reading.quantity, reading.sentiment)


_NOTHING_OPEN = Reason(ReasonCode.NOTHING_OPEN)


def _list_detail(facts: ListFacts) -> dict[str, Any]:
    age = facts.list_age_seconds
    return {
        "rank": facts.rank,
        "list_size": facts.list_size,
        "list_age_seconds": None if age is None else round(age, 1),
    }


def _book_detail(book: Book) -> dict[str, Any]:
    return {"position_open": book.position is not None, "buy_on_its_way": book.has_pending_entry}
