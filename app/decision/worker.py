"""The decision workers: claim received signals in order, apply the rule, store decision and reason."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import structlog

from app import metrics
from app.config.destinations import DestinationConfig
from app.config.model import Config
from app.config.repository import still_configured
from app.context import AppContext
from app.db.pool import Connection
from app.decision import repository
from app.decision.destinations import Overtaken
from app.decision.record import BatchInputs, DestinationInputs, ListInForce, taken_of
from app.decision.repository import Claim, Claimed
from app.decision.risk import RiskCounts
from app.decision.risk_facts import read_risk_counts, rules_of
from app.orders.destination import destination_of
from app.orders.endings import end_overtaken
from app.orders.repository import lock_approvals_shared, lock_signals
from app.signals.statuses import DecisionResult, SignalType

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
_BEAT_SECONDS = 10.0
# A single signal is decided at once. In a stream of signals a commit for each costs more than all other work:
# signals that arrive within this time after the start of a batch are decided in the next batch.
_BATCH_INTERVAL_SECONDS = 0.008
# While all signals in the queue wait for a fresh list, a worker searches the queue at most 10 % of the time.
_COST_FACTOR = 10
_BATCH_SIGNALS = 500
# While another batch decides entries under a limit, or an entry that an exit has to wait for.
_RETRY_SECONDS = 0.02


class Batch(NamedTuple):
    """How many signals a batch has decided.

    `has_exits_waiting`: exits of the same tickers are undecided. `is_blocked`: another batch decides entries
    now, which this one has to wait for.
    """

    decided: int
    has_exits_waiting: bool = False
    is_blocked: bool = False


def start(context: AppContext) -> None:
    """Start `WORKER_CONCURRENCY` workers, `decision-1` …, and one for entries, under the supervisor."""
    turn = asyncio.Lock()
    context.supervisor.start("entry-decision", partial(run_entries, context, "entry-decision"))
    for number in range(1, context.settings.worker_concurrency + 1):
        name = f"decision-{number}"
        context.supervisor.start(name, partial(run, context, turn, name))


async def run(context: AppContext, turn: asyncio.Lock, name: str) -> None:
    """Decide signals as they arrive; only exits while a rule counts, see `run_entries`.

    The workers of a process take turns: a batch decides up to 500 signals in one commit, and concurrent
    workers would only split it. Row locks keep other processes apart.
    """
    while True:
        context.supervisor.beat(name)
        try:
            async with asyncio.timeout(_BEAT_SECONDS):
                await turn.acquire()
        except TimeoutError:
            continue
        try:
            await context.wakeups.wait("received", POLL_SECONDS, reader=turn)
            await _decide_all(context, name, Claim.EXITS if _needs_counts(context) else Claim.ALL)
        finally:
            turn.release()


async def run_entries(context: AppContext, name: str) -> None:
    """Decide entries as they arrive while a rule counts what is stored.

    Exits are then decided by `run`, in transactions of their own, and wait for no lock on limits. Only an
    exit of a ticker whose entry is being decided waits for that decision, and so for its count.
    """
    while True:
        context.supervisor.beat(name)
        await context.wakeups.wait("entries", POLL_SECONDS)
        if _needs_counts(context):
            await _decide_all(context, name, Claim.ENTRIES)


def _needs_counts(context: AppContext) -> bool:
    return rules_of(context.config.system.risk).needs_counts


async def _decide_all(context: AppContext, name: str, claim: Claim) -> None:
    started = time.monotonic()
    while (batch := await decide_batch(context, claim)).decided == _BATCH_SIGNALS or batch.is_blocked:
        context.supervisor.beat(name)
        if batch.is_blocked:
            await asyncio.sleep(_RETRY_SECONDS)
    if claim is Claim.EXITS:
        context.wakeups.notify("entries")
    if batch.has_exits_waiting or (claim is Claim.ENTRIES and batch.decided):
        context.wakeups.notify("received")  # exits may have waited for these decisions
    cost = time.monotonic() - started
    # Entries wake this worker where it decides exits alone: an exit that comes next does not wait for long.
    factor = 1 if claim is Claim.EXITS else _COST_FACTOR
    await asyncio.sleep(_BATCH_INTERVAL_SECONDS - cost if batch.decided else min(factor * cost, POLL_SECONDS))


async def decide_batch(context: AppContext, claim: Claim) -> Batch:
    """Decide the front of the queue in one transaction."""
    config = context.config
    risk_rules = rules_of(config.system.risk)
    async with context.pool.acquire() as connection, connection.transaction():
        # Limits hold across processes: what one approves, the next one counts. Exits never ask for this lock.
        if (
            claim is Claim.ENTRIES
            and risk_rules.has_limits
            and not await repository.try_lock_entry_limits(connection)
        ):
            return Batch(0, is_blocked=True)
        await lock_approvals_shared(connection)
        destinations = await still_configured(connection, config.destinations)
        claimed = await repository.claim_signals(
            connection,
            claim=claim,
            limit=_BATCH_SIGNALS,
            strategy=config.finviz.active_strategy.name,
            is_frozen=config.system.engine_paused,
            destinations={each.name: each.match.takes for each in destinations},
        )
        signals = claimed.signals
        is_blocked = claim is Claim.EXITS and claimed.has_exits_waiting
        if not signals:
            return Batch(0, is_blocked=is_blocked)
        inputs = await _inputs(connection, config, destinations, claimed, context.clock.now())
        decisions, orders, overtaken = inputs.decide()
        counts = await repository.store_decisions(
            connection, inputs=inputs, decisions=decisions, orders=orders
        )
        await _end_overtaken(connection, overtaken)
    context.queues.count_decided(len(signals))
    for status, count in counts.items():
        metrics.SIGNALS_DECIDED.labels(status).inc(count)
    for signal, decision in zip(signals, decisions, strict=True):
        log.info(
            "decided",
            signal_id=signal.id,
            ticker=signal.ticker,
            status=decision.status,
            reason=str(decision.reason),
        )
    if any(decision.status == DecisionResult.APPROVED for decision in decisions):
        context.wakeups.notify("approved")
    context.wakeups.notify("changed")
    return Batch(len(signals), claimed.has_exits_waiting, is_blocked)


async def _end_overtaken(connection: Connection, overtaken: Sequence[Overtaken]) -> None:
    for each in overtaken:
        if each.exits:
            each.entries.extend(await repository.find_entries_before(connection, exits=each.exits))
    if (
        len(overtaken) > 1
    ):  # all at once, in the order of their ids: else this and a sender wait for each other
        await lock_signals(connection, ids=[id_ for each in overtaken for id_ in each.entries])
    for each in overtaken:
        await end_overtaken(connection, each.entries, each.destination)


async def _inputs(
    connection: Connection,
    config: Config,
    destinations: Sequence[DestinationConfig],
    claimed: Claimed,
    now: datetime,
) -> BatchInputs:
    """Return what decides the claimed signals at these destinations, and where more is held."""
    strategy, rules = config.finviz.active_strategy, rules_of(config.system.risk)
    signals, books = claimed.signals, dict(claimed.books)
    has_entries = any(signal.type == SignalType.BUY for signal in signals)
    everywhere = list[DestinationInputs]()
    for each in destinations:
        own = books.pop(each.name)
        counts = await read_risk_counts(
            connection,
            rules,
            now=now,
            destination=destination_of(each.url, each.name),
            tickers=own,
            has_entries=has_entries,
        )
        everywhere.append(DestinationInputs(own, counts, each.name, taken_of(signals, each.match)))
    everywhere += [
        DestinationInputs(own, RiskCounts(), name, frozenset(), is_configured=False)
        for name, own in books.items()
    ]
    listed = ListInForce(
        strategy.name,
        strategy.top_n,
        strategy.max_age_seconds,
        is_frozen=config.system.engine_paused,
        id=claimed.list_id,
        fetched_at=claimed.list_fetched_at,
    )
    return BatchInputs(signals, everywhere, config.system.book_rules, rules, now, listed)
