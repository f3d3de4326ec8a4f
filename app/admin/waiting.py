"""Why a signal waits now: the reasons that hold at this moment, the longest-lasting first."""

from datetime import datetime
from typing import NamedTuple

from app.admin import repository
from app.admin.repository import WaitFacts
from app.admin.schemas import Story, WaitReason
from app.context import AppContext
from app.db.pool import Connection
from app.orders.destination import destination_of
from app.screener.current import TopN, current_top_n
from app.signals.statuses import SignalType, Status
from app.web.reasons import render
from app.web.texts import text


class Circumstances(NamedTuple):
    """What holds for all signals of a destination: whether it is configured, pauses, list and limits.

    `limited_until`: until when no token of the limits is left.
    """

    now: datetime
    is_configured: bool
    is_delivery_paused: bool
    is_engine_paused: bool
    top_n: TopN
    limited_until: datetime | None
    entries_limited_until: datetime | None


async def add_waits(context: AppContext, connection: Connection, story: Story) -> Story:
    """Return the timeline with the reasons for which its signal waits now; none once it has ended."""
    if story.signal.status not in (Status.RECEIVED, Status.APPROVED, Status.FORWARDING):
        return story
    facts = await repository.fetch_wait_facts(
        connection,
        signal_id=story.signal.id,
        destinations=[destination_of(each.url, each.name) for each in context.config.destinations],
        gaps=[each.ticker_gap_seconds for each in context.config.destinations],
    )
    if facts is None:
        return story
    system, delivery = context.config.system, context.delivery_of(facts.destination)
    circumstances = Circumstances(
        now=context.clock.now(),
        is_configured=context.config.destination(facts.destination) is not None,
        is_delivery_paused=system.delivery_paused,
        is_engine_paused=system.engine_paused,
        top_n=await current_top_n(context, connection),
        limited_until=delivery.limited_until,
        entries_limited_until=delivery.entries_limited_until,
    )
    return story.model_copy(update={"waits": find_waits(facts, circumstances)})


def find_waits(facts: WaitFacts, given: Circumstances) -> list[WaitReason]:
    """Return each reason for which the signal waits, at least one. Pure but for the reader's language."""
    if facts.status == Status.FORWARDING:
        return [_reason("answer")]
    is_undecided = facts.status == Status.RECEIVED
    waits = (_before_decision if is_undecided else _before_delivery)(facts, given)
    if facts.behind:
        order = text(f"type.{facts.behind_type or 'none'}")
        waits.append(_reason("behind", behind=facts.behind, order=order))
    # nothing else is in its way: a worker takes it next
    return waits or [_reason("decision" if is_undecided else "sender")]


def _before_decision(facts: WaitFacts, given: Circumstances) -> list[WaitReason]:
    """Return what keeps an entry undecided; an exit needs no list."""
    is_fresh = given.top_n.last_update is not None and (given.top_n.fresh or given.is_engine_paused)
    if facts.type != SignalType.BUY or is_fresh:
        return []
    failure = given.top_n.failure
    if failure:
        return [_reason("list_failing", reason=render(failure))]
    return [_reason("list")]


def _before_delivery(facts: WaitFacts, given: Circumstances) -> list[WaitReason]:
    waits = []
    if not given.is_configured:
        waits.append(_reason("destination", destination=facts.destination))
    if given.is_delivery_paused:
        waits.append(_reason("paused"))
    if facts.probe_at:
        waits.append(_reason("circuit", until=max(facts.probe_at, given.now)))
    if facts.held_until and facts.held_until > given.now:
        waits.append(_reason("held", until=facts.held_until))
    if facts.not_before and facts.not_before > given.now:
        waits.append(_reason("attempt", until=facts.not_before))
    if facts.gap_until and facts.gap_until > given.now:
        waits.append(_reason("gap", until=facts.gap_until))
    is_entry = facts.type == SignalType.BUY
    limit = given.entries_limited_until if is_entry else given.limited_until
    if limit and limit > given.now:
        waits.append(_reason("limit", until=limit))
    return waits


def _reason(
    code: str, *, until: datetime | None = None, behind: object = None, **values: object
) -> WaitReason:
    return WaitReason.model_validate(
        {"code": code, "until": until, "behind": behind, "text": text(f"wait.{code}", **values)}
    )
