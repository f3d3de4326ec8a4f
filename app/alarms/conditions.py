"""Which alarms there are: the conditions, and what they are read from."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from app.alarms.alarm import Alarm
from app.alarms.repository import FailingTarget, OtherKind, read_failing, read_other_kind
from app.config.access import AlertSource
from app.config.destination_url import fault_of
from app.config.destinations import DEFAULT_DESTINATION, list_tickers
from app.config.model import SystemConfig
from app.context import AppContext
from app.db.clock import ClockStep, DatabaseClock
from app.db.pool import Connection
from app.errors import ConfigFileError
from app.ops import certificate, checks, repository
from app.ops.certificate import Certificate
from app.ops.checks import Blocked
from app.ops.health import find_blocked
from app.ops.repository import AtRisk
from app.orders.destination import destination_of
from app.orders.destination_state import circuit_reasons
from app.positions import repository as positions
from app.positions.repository import MissedFlatten, Stranded
from app.runtime.denials import Episode
from app.runtime.supervisor import WorkerState
from app.screener.current import TopN
from app.signals.market import after_trading_time
from app.signals.reasons import Reason, ReasonCode

FEW_OF_A_CODE = 5  # each has a line of its own on the page
MOST_OF_A_CODE = 20
CERTIFICATE_FAILING_SECONDS = 3600.0
FAILURES_SHOWN = 3  # a target that fails less often in a row is no alarm
# The others end when the exit leaves, or when a person confirms, dismisses or closes the position.
SettledByPerson = Literal[
    "sells_expired",
    "sells_failed",
    "exits_swallowed",
    "alerts_unread",
    "exits_without_destination",
    "entries_after_exit",
    "orders_refused",
]
SETTLED_BY_PERSON: frozenset[str] = frozenset(get_args(SettledByPerson))


async def find_alarms(
    context: AppContext, connection: Connection, *, top_n: TopN, waiting: int
) -> list[Alarm]:
    """Return every alarm, the most urgent first. `waiting`: approved signals that wait for delivery.

    Raises:
        TRANSIENT_DB_ERRORS: the database is unavailable.
    """
    keys = [destination_of(each.url, each.name).key for each in context.config.destinations]
    at_risk = await repository.fetch_at_risk(connection, destinations=keys)
    stranded = await positions.read_without_destination(
        connection, configured=[each.name for each in context.config.destinations]
    )
    other_kind = await read_other_kind(connection, destinations=context.config.destinations)
    failing = await circuit_reasons(context, connection)
    missed = None
    if context.config.system.risk.flatten_at is not None:
        missed = await positions.read_missed_flatten(connection)
    blocked = await find_blocked(context, connection)
    failing_targets = await read_failing(
        connection, targets=list(context.notification_targets), failures=FAILURES_SHOWN
    )
    limited = [
        context.delivery_of(each.name)
        for each in context.config.destinations
        if each.rate_limiting_enabled  # else both times are of before
    ]
    found = [
        *exit_alarms(at_risk),
        *stranded_alarms(stranded),
        *kind_alarms(other_kind),
        *flatten_alarms(missed),
        *circuit_alarms(failing),
        *list_alarms(top_n),
        *delivery_alarms(
            limited_until=max(filter(None, (each.limited_until for each in limited)), default=None),
            entries_limited_until=max(
                filter(None, (each.entries_limited_until for each in limited)), default=None
            ),
            waiting=waiting,
            clock_step=context.clock.step,
            now=context.clock.now(),
        ),
        *outcome_alarms(context.unwritten_outcomes),
        *process_alarms(context.supervisor.states(), blocked, context.intake_failure),
        *operator_alarms(context.config.system, context.config_problems),
        *clock_alarms(context.clock),
        *(alarm for each in context.config.destinations for alarm in destination_alarms(each.url, each.name)),
        *disk_alarms(checks.free_bytes(context.settings.config_dir)),
        *certificate_alarms(certificate.look(context)),
        *(denial_alarm(each) for each in context.denials.episodes().values()),
        *target_alarms(failing_targets, context.notification_targets),
    ]
    now = context.clock.now()
    found += silence_alarms(context.config.alert_sources, context.silent_since, now)
    max_age_days = context.config.system.notify.backup_max_age_days
    if max_age_days and context.last_backup:
        found += backup_alarms(*context.last_backup, max_age_days, now)
    for alarm in found:  # the begin of those that are not about a time of their own
        alarm.since = alarm.since or context.alarms_began.setdefault((alarm.code, alarm.subject), now)
    return found


def target_alarms(failing: Sequence[FailingTarget], names: Mapping[str, str]) -> list[Alarm]:
    """Return alarms about targets that do not accept their messages; `names` by target. Pure."""
    return [
        Alarm(
            code="notifications_failing",
            subject=names[each.target],
            since=each.since,
            values={"count": str(each.waiting)},
        )
        for each in failing
    ]


def exit_alarms(at_risk: Sequence[AtRisk]) -> list[Alarm]:
    """Return alarms about exits, positions and refused orders, one for each subject. Pure."""
    found = []
    for code in checks.AT_RISK:
        of_code = [each for each in at_risk if each.code == code]
        found += [
            Alarm(
                code=code,
                subject=each.subject,
                since=each.since,
                settle_until=each.newest if code in SETTLED_BY_PERSON else None,
                position_id=each.position_id if code in SETTLED_BY_PERSON else None,
                values={"count": str(each.cases)},
            )
            for each in of_code
        ]
    return found


def stranded_alarms(stranded: Sequence[Stranded]) -> list[Alarm]:
    """Return alarms about destinations that have open positions and are not configured. Pure."""
    return [
        Alarm(
            code="destination_missing",
            subject=each.destination,
            since=each.since,
            values={"count": str(each.positions)},
        )
        for each in stranded
    ]


def kind_alarms(found: Sequence[OtherKind]) -> list[Alarm]:
    """Return alarms about open positions of a destination that was live and is paper, or the reverse. Pure.

    Nothing is held: an exit leaves to where its destination is now.
    """
    return [
        Alarm(
            code="destination_now_paper" if each.is_paper else "destination_now_live",
            subject=each.destination,
            values={"count": str(each.positions), "tickers": list_tickers(each.tickers)},
        )
        for each in found
    ]


def flatten_alarms(missed: MissedFlatten | None) -> list[Alarm]:
    """Return the alarm about positions that were not sold at the configured time. Pure."""
    if missed is None:
        return []
    return [Alarm(code="flatten_missed", since=missed.missed_due_at, values={"time": missed.flatten_at})]


def shorten(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Return the alarms; more than five of a code are one that stands for all. Pure."""
    by_code: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        by_code.setdefault(alarm.code, []).append(alarm)
    found = []
    for code, of_code in by_code.items():
        if len(of_code) <= FEW_OF_A_CODE:
            found += of_code
            continue
        since = min((each.since for each in of_code if each.since), default=None)
        members = of_code[-MOST_OF_A_CODE:]
        found.append(Alarm(code=code, since=since, omitted=len(of_code), members=members))
    return found


def list_alarms(top_n: TopN) -> list[Alarm]:
    """Return alarms about the Top-N list. Pure."""
    found = []
    if top_n.last_update is None:
        found.append(Alarm(code="top_n_missing"))
    elif not top_n.fresh:
        found.append(Alarm(code="top_n_stale"))
    if top_n.failure:
        found.append(Alarm(code="top_n_failing", values={"error": top_n.failure}))
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
    if system.buys_paused:
        found.append(Alarm(code="buys_paused"))
    found += [
        Alarm(code="config_wrong", subject=file, values={"problem": problem.reason})
        for file, problem in problems.items()
    ]
    return found


def denial_alarm(found: Episode) -> Alarm:
    """Return the alarm for denied requests: alerts may be lost, or a client guesses the token. Pure."""
    values = {"count": str(found.count), "address": found.last_address, "top": found.top_address}
    return Alarm(code=f"denied_{found.kind}", values=values)


def delivery_alarms(
    *,
    limited_until: datetime | None,
    entries_limited_until: datetime | None,
    waiting: int,
    clock_step: ClockStep | None,
    now: datetime,
) -> list[Alarm]:
    """Return alarms about an exhausted limit and a step of the database's clock. Reads the clock."""
    found = []
    limits = ("limit_exhausted", limited_until), ("entry_limit_exhausted", entries_limited_until)
    for code, until in limits if waiting else ():
        if until is not None and until >= now + timedelta(seconds=1):
            found.append(Alarm(code=code, values={"count": str(waiting), "time": f"{until:%H:%M}"}))
            break
    step = checks.clock_step(clock_step, time.monotonic())
    if clock_step is not None and step["status"] != "ok":
        found.append(Alarm(code="clock_stepped", values={"step": checks.describe_step(clock_step)}))
    return found


def circuit_alarms(failing: Mapping[str, Reason]) -> list[Alarm]:
    """Return the alarms about open circuits: how each destination fails. Pure."""
    return [
        Alarm(code="destination_failing", subject=_subject_of(name), values={"reason": reason})
        for name, reason in failing.items()
    ]


def _subject_of(destination: str) -> str:
    """Return the subject of an alarm about a destination; `default` needs none."""
    return "" if destination == DEFAULT_DESTINATION else destination


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
        found.append(workers_alarm(failing))
    return found


def workers_alarm(failing: Sequence[str]) -> Alarm:
    """Return the alarm about failing workers, each with how it fails. Pure."""
    return Alarm(code="workers_failing", values={"workers": ", ".join(failing)})


def clock_alarms(clock: DatabaseClock) -> list[Alarm]:
    """Return the alarm for clocks that differ: limits and ages use the database's, the log the machine's."""
    if not clock.differs:
        return []
    return [Alarm(code="clock_differs", values={"seconds": f"{clock.difference:+.0f}"})]


def destination_alarms(url: str | None, name: str = DEFAULT_DESTINATION) -> list[Alarm]:
    """Return the alarm for a current destination URL that is not valid; only a change is refused. Pure."""
    fault = fault_of(url)
    return (
        [Alarm(code="destination_wrong", subject=_subject_of(name), values={"fault": fault})] if fault else []
    )


def disk_alarms(free_bytes: int) -> list[Alarm]:
    """Return the alarm about too little room for PostgreSQL and the logs. Pure."""
    if checks.disk(free_bytes)["status"] == "ok":
        return []
    return [Alarm(code="disk_low", values={"megabytes": str(free_bytes // 1_000_000)})]


def backup_alarms(last: datetime | None, max_age_days: int, now: datetime) -> list[Alarm]:
    """Return the alarm about a database backup that was made too long ago, or never. Pure."""
    days = str(max_age_days)
    if last is None:
        return [Alarm(code="backup_missing", values={"days": days})]
    since = last + timedelta(days=max_age_days)
    if now < since:
        return []
    return [Alarm(code="backup_old", since=since, values={"time": f"{last:%Y-%m-%d %H:%M}", "days": days})]


def certificate_alarms(found: Certificate | None) -> list[Alarm]:
    """Return the alarm about the edge's certificate; `found`: None without TLS. Pure.

    A renewal is due long before the certificate ends, so an alarm about its failure can wait for an hour.
    """
    if found is None:
        return []
    if found.report is None:
        return [Alarm(code="certificate_failing", values={"problem": Reason(ReasonCode.ACME_STOPPED)})]
    report, days = found.report, found.whole_days_left
    failing_since = (
        None if report.failing_since is None else datetime.fromtimestamp(report.failing_since, UTC)
    )
    is_failing = (
        failing_since is not None and found.now - failing_since.timestamp() >= CERTIFICATE_FAILING_SECONDS
    )
    values = {"problem": report.problem or Reason(ReasonCode.NO_PROBLEM_KNOWN), "days": str(days)}
    if days is None:
        alarm = Alarm(code="certificate_missing", values=values)
    elif days < 0:
        alarm = Alarm(
            code="certificate_ended", since=datetime.fromtimestamp(report.not_after or 0, UTC), values=values
        )
    elif days < checks.NEAR_END_DAYS:
        alarm = Alarm(code="certificate_ending", values=values)
    elif is_failing:
        alarm = Alarm(code="certificate_failing", since=failing_since, values=values)
    else:
        return []
    return [alarm]


def silence_alarms(
    sources: Sequence[AlertSource], silent_since: Mapping[str, datetime], now: datetime
) -> list[Alarm]:
    """Return alarms about sources that sent nothing for too long while the exchange was open. Pure.

    One that has begun lasts until a signal arrives, also after the exchange has closed.
    """
    found = []
    for source in sources:
        minutes, silent = source.expect_within_minutes, silent_since.get(source.name)
        if minutes is None or silent is None:
            continue
        since = after_trading_time(silent, timedelta(minutes=minutes))
        if now >= since:
            values = {"time": f"{silent:%Y-%m-%d %H:%M}", "minutes": str(minutes)}
            found.append(Alarm(code="source_silent", subject=source.name, since=since, values=values))
    return found


def database_alarm() -> Alarm:
    """Return the alarm for an unavailable database."""
    return Alarm(code="database_away")
