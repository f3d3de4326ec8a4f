"""The snapshot that the page header shows: for `/admin/status`, the first rendering and live updates."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel

from app.admin import repository
from app.admin.schemas import (
    Alarm,
    Changes,
    DeniedRequests,
    Destination,
    Metrics,
    PositionsSummary,
    ProcessStatus,
    TopN,
)
from app.config.destination_url import fault_of
from app.config.model import SystemConfig
from app.context import AppContext
from app.db.clock import ClockStep, DatabaseClock
from app.db.pool import Connection
from app.errors import ConfigFileError
from app.ops import checks
from app.ops import repository as ops_repository
from app.ops.checks import Blocked
from app.ops.health import find_blocked
from app.ops.repository import SellsAtRisk
from app.orders.destination_state import circuit_reason, describe_destination
from app.runtime.denials import Denials
from app.runtime.supervisor import WorkerState
from app.screener import repository as screener
from app.signals.reasons import Reason

_LIMIT_SECONDS = 5.0


class Overview(BaseModel):
    """The snapshot that a page starts from. The live messages carry its parts."""

    status: ProcessStatus
    metrics: Metrics
    top_n: TopN
    positions: PositionsSummary
    changes: Changes
    refused: list[DeniedRequests]
    alarms: list[Alarm]


async def look(context: AppContext) -> Overview:
    """Read the snapshot on one connection.

    Raises:
        TRANSIENT_DB_ERRORS: the database is unavailable, or does not answer within 5 s.
    """
    async with asyncio.timeout(_LIMIT_SECONDS), context.reading.acquire() as connection:
        metrics = await repository.fetch_metrics(connection)
        positions = await repository.fetch_positions_summary(connection)
        sells = await ops_repository.fetch_sells_at_risk(connection)
        failing = await circuit_reason(context, connection)
        changes = await repository.fetch_changes(connection)
        top_n = await current_top_n(context, connection)
        blocked = await find_blocked(context, connection)
    refused = denied(context.denials)
    return Overview(
        status=ProcessStatus(
            version=context.settings.app_version,
            engine_paused=context.config.system.engine_paused,
            delivery_paused=context.config.system.delivery_paused,
            intake_paused=context.config.system.intake_paused,
            uptime_seconds=round(time.monotonic() - context.started_at, 1),
            at=context.clock.now(),
            destination=Destination(**describe_destination(context)),
            top_n_count=len(top_n.tickers),
            top_n_age_seconds=top_n.age_seconds,
            top_n_fresh=top_n.fresh,
        ),
        metrics=metrics,
        top_n=top_n,
        positions=positions,
        changes=changes,
        refused=refused,
        alarms=alarms(top_n, sells, failing=failing)
        + delivery_alarms(
            limited_until=context.limited_until,
            waiting=metrics.approved_queue,
            clock_step=context.clock.step,
            now=context.clock.now(),
        )
        + outcome_alarms(context.unwritten_outcomes)
        + process_alarms(context.supervisor.states(), blocked, context.intake_failure)
        + operator_alarms(context.config.system, context.config_problems)
        + clock_alarms(context.clock)
        + destination_alarms(context.config.webhook.url)
        + [denial_alarm(each) for each in refused],
    )


async def current_top_n(context: AppContext, connection: Connection) -> TopN:
    """Return the active strategy's current list, or an empty list that is not fresh."""
    strategy = context.config.finviz.active_strategy
    found = await screener.current_list(connection, strategy=strategy.name)
    if found is None:
        return TopN(
            strategy=strategy.name, error=await screener.last_error(connection, strategy=strategy.name)
        )
    return TopN(
        strategy=found.strategy,
        source=found.source,
        tickers=list(found.tickers),
        last_update=found.fetched_at,
        age_seconds=round(found.age_seconds, 1),
        max_age_seconds=found.max_age_seconds,
        fresh=found.is_fresh or context.config.system.engine_paused,  # frozen on purpose
        error=found.error,
    )


def alarms(top_n: TopN, sells: SellsAtRisk, *, failing: Reason | None = None) -> list[Alarm]:
    """Return alarms about exits, the destination and the Top-N list, the most urgent first. Pure.

    `failing`: how the destination fails, None while it does not.
    """
    counts = {
        "sells_expired": sells.expired,
        "sells_failed": sells.failed,
        "alerts_unread": sells.unread,
        "sells_late": sells.late,
        "positions_unconfirmed": sells.unconfirmed,
    }
    found = [Alarm(code=code, values={"count": str(count)}) for code, count in counts.items() if count]
    if failing:
        found.append(Alarm(code="destination_failing", values={"reason": failing}))
    if top_n.last_update is None:
        found.append(Alarm(code="top_n_missing"))
    elif not top_n.fresh:
        found.append(Alarm(code="top_n_stale"))
    if top_n.error:
        found.append(Alarm(code="top_n_failing", values={"error": top_n.error}))
    return found


def operator_alarms(system: SystemConfig, problems: Mapping[str, ConfigFileError]) -> list[Alarm]:
    """Return alarms about pauses and configuration files that are not valid. Pure."""
    found = []
    if system.intake_paused:
        found.append(Alarm(code="intake_paused"))
    if system.delivery_paused:
        found.append(Alarm(code="delivery_paused"))
    if system.engine_paused:
        found.append(Alarm(code="engine_paused"))
    found += [Alarm(code="config_wrong", values={"problem": str(problem)}) for problem in problems.values()]
    return found


def denied(denials: Denials) -> list[DeniedRequests]:
    """Return recent requests that were denied, by kind."""
    episodes = denials.episodes().values()
    return [DeniedRequests.model_validate(found, from_attributes=True) for found in episodes]


def denial_alarm(found: DeniedRequests) -> Alarm:
    """Return the alarm for denied requests: alerts may be lost, or somebody guesses the token. Pure."""
    values = {"count": str(found.count), "address": found.last_address, "top": found.top_address}
    return Alarm(code=f"denied_{found.kind}", values=values)


def delivery_alarms(
    *, limited_until: datetime | None, waiting: int, clock_step: ClockStep | None, now: datetime
) -> list[Alarm]:
    """Return alarms about an exhausted limit and a step of the database's clock. Reads the clock."""
    found = []
    if waiting and limited_until is not None and limited_until >= now + timedelta(seconds=1):
        values = {"count": str(waiting), "time": f"{limited_until:%H:%M}"}
        found.append(Alarm(code="limit_exhausted", values=values))
    step = checks.clock_step(clock_step, time.monotonic())
    if clock_step is not None and step["status"] != "ok":
        found.append(Alarm(code="clock_stepped", values={"step": checks.describe_step(clock_step)}))
    return found


def outcome_alarms(unwritten: Mapping[int, str]) -> list[Alarm]:
    """Return the alarm about outcomes of deliveries that are not stored; maps attempts to causes. Pure."""
    if not unwritten:
        return []
    values = {"count": str(len(unwritten)), "error": checks.latest_cause(unwritten)}
    return [Alarm(code="outcomes_unwritten", values=values)]


def process_alarms(
    states: Mapping[str, WorkerState], blocked: Sequence[Blocked], intake_failure: str = ""
) -> list[Alarm]:
    """Return alarms about failing or blocked workers and about intake. Pure."""
    found = []
    if intake_failure:
        found.append(Alarm(code="intake_failing", values={"error": intake_failure}))
    if blocked:
        values = {
            "workers": ", ".join(sorted({each.worker for each in blocked})),
            "seconds": f"{max(each.seconds for each in blocked):.0f}",
            "blocker": str(blocked[0].blocker),
        }
        found.append(Alarm(code="workers_blocked", values=values))
    failing = [f"{name} ({state.failure})" for name, state in sorted(states.items()) if state.failure]
    if failing:
        found.append(Alarm(code="workers_failing", values={"workers": ", ".join(failing)}))
    return found


def clock_alarms(clock: DatabaseClock) -> list[Alarm]:
    """Return the alarm for clocks that differ: limits and ages use the database's, the log the machine's."""
    if not clock.differs:
        return []
    return [Alarm(code="clock_differs", values={"seconds": f"{clock.difference:+.0f}"})]


def destination_alarms(url: str | None) -> list[Alarm]:
    """Return the alarm for a current destination URL that is not valid; only a change is refused. Pure."""
    fault = fault_of(url)
    return [Alarm(code="destination_wrong", values={"fault": fault})] if fault else []


def database_alarm() -> Alarm:
    """Return the alarm for an unavailable database."""
    return Alarm(code="database_away")
