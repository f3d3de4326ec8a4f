"""The checks of `/health`: what makes a process unhealthy or degrades it. Pure, except `free_bytes`."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from app.db.clock import ClockStep
from app.errors import ConfigFileError
from app.ops.certificate import Certificate
from app.runtime.queues import Queues
from app.runtime.supervisor import WorkerState
from app.signals.reasons import Reason, ReasonCode

Status = Literal["healthy", "degraded", "unhealthy"]
Check = dict[str, Any]
"""`status` is `ok`, `degraded` or `failed`; `reason` explains a status other than `ok`."""

BACKLOG_SECONDS, BACKLOG_SHARE = 60.0, 0.8
LOW_DISK_BYTES = 500_000_000
BLOCKED_AFTER_SECONDS = 3.0
CLOCK_STEP_SHOWN_SECONDS = 3600.0
NEAR_END_DAYS = 10


class Blocked(NamedTuple):
    """A worker whose statement has waited `seconds` for a lock that the server process `blocker` holds.

    `is_idle`: the blocker is idle in an open transaction.
    """

    worker: str
    seconds: float
    blocker: int
    is_idle: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of one probe of the database; `error` is empty if it answered in time. Ages in seconds.

    `list_*` describe the active strategy's stored Top-N list and are None before the first list.
    `refresh_error` is the error of its last refresh.
    """

    milliseconds: float
    error: str = ""
    list_size: int | None = None
    list_age: float | None = None
    list_max_age: int | None = None
    list_at: datetime | None = None
    refresh_error: str = ""
    blocked: tuple[Blocked, ...] = ()


def overall(checks: Iterable[Check]) -> Status:
    """Return the worst status. Only `failed` is unhealthy: a restart or another host could repair it."""
    found = {check["status"] for check in checks}
    if "failed" in found:
        return "unhealthy"
    return "degraded" if "degraded" in found else "healthy"


def database(probe: Probe) -> Check:
    """Fail if the database does not answer within 2 s."""
    return _failed(probe.error) if probe.error else {"status": "ok", "milliseconds": probe.milliseconds}


def workers(states: Mapping[str, WorkerState], blocked: Sequence[Blocked] = ()) -> Check:
    """Fail while a worker is dead or silent for 30 s; degrade while one waits for a lock or fails."""
    dead = sorted(name for name, state in states.items() if not state.alive)
    if not states or dead:
        return _failed(f"not running: {', '.join(dead) or 'all'}")
    troubles = [
        f"{each.worker} has waited {each.seconds:.0f} s for a lock of PostgreSQL process {each.blocker}"
        + (", idle in a transaction" if each.is_idle else "")
        for each in blocked
    ]
    troubles += [f"{name} fails ({state.failure})" for name, state in sorted(states.items()) if state.failure]
    return _degraded("; ".join(troubles)) if troubles else {"status": "ok", "running": len(states)}


def backlog(queues: Queues, max_size: int) -> Check:
    """Degrade while 80 % of `max_size` signals wait for a decision, or one has waited for 60 s."""
    if queues.received >= BACKLOG_SHARE * max_size:
        return _degraded(f"{queues.received} of {max_size} signals wait for a decision")
    if queues.oldest_received > BACKLOG_SECONDS:
        return _degraded(f"a signal has waited {queues.oldest_received:.0f} s for its decision")
    return {"status": "ok"}


def intake(*, paused: bool, failure: str = "") -> Check:
    """Fail while posts cannot be stored; degrade while an operator has paused intake."""
    if failure:
        return _failed(f"posts are refused with 503, they cannot be stored: {failure}")
    return _degraded("paused by an operator: posts are refused with 503") if paused else {"status": "ok"}


def buys(*, paused: bool) -> Check:
    """Degrade while an operator has stopped buying."""
    reason = "paused by an operator: entries are rejected, exits pass"
    return _degraded(reason) if paused else {"status": "ok"}


def outcomes(unwritten: Mapping[int, str]) -> Check:
    """Degrade while outcomes of deliveries are not stored; `unwritten` maps attempts to causes."""
    if not unwritten:
        return {"status": "ok"}
    return _degraded(f"outcomes of deliveries not stored yet: {len(unwritten)}; {latest_cause(unwritten)}")


def latest_cause(unwritten: Mapping[int, str]) -> str:
    """Return the cause of the latest attempt whose outcome is not stored; `unwritten` must not be empty."""
    return unwritten[max(unwritten)]


def clock_step(step: ClockStep | None, now: float) -> Check:
    """Degrade for an hour after the database's clock stepped; `now` in seconds of `time.monotonic()`."""
    if step is None or now - step.noticed_at > CLOCK_STEP_SHOWN_SECONDS:
        return {"status": "ok"}
    return _degraded(f"the database's clock stepped {describe_step(step)}")


def describe_step(step: ClockStep) -> Reason:
    """Return the direction and size of the step, for the check and the alarm."""
    code = ReasonCode.CLOCK_BACK if step.seconds < 0 else ReasonCode.CLOCK_AHEAD
    return Reason(code, seconds=f"{abs(step.seconds):.0f}")


_AT_RISK = {  # by code of the alarm, the most urgent first
    "sells_expired": "exits expired undelivered; their positions are still open",
    "sells_failed": "exits failed; their positions are still open",
    "exits_swallowed": "partial exits were taken for duplicates and not executed",
    "exits_waiting": "exits were not delivered within 30 s",
    "alerts_unread": "alerts of open positions could not be read",
    "exits_without_destination": "no destination takes exits of open positions",
    "sells_late": "exits are about to expire undelivered",
    "entries_after_exit": "positions were opened just after an exit that found none",
    "positions_unconfirmed": "positions may be open: confirm or dismiss them",
    "orders_refused": "orders in a row were refused by the destination",
}
AT_RISK = tuple(_AT_RISK)


_OTHER_KIND = {  # by code of the alarm
    "destination_now_paper": "destinations are on paper now and have positions opened at their broker",
    "destination_now_live": "destinations are live now and have positions opened on paper",
}
OTHER_KIND = tuple(_OTHER_KIND)


def sells(queues: Queues, alarms: Mapping[str, int] = MappingProxyType({})) -> Check:
    """Degrade while a person has to act: for an exit that did not get through, or orders that are refused.

    Or for exits that would go elsewhere than their entries did; `alarms` are counts by code. The check is
    public: it counts, and names no ticker.
    """
    for code, what in _AT_RISK.items():
        if count := queues.at_risk[code]:
            return _degraded(f"{count} {what}")
    for code, what in _OTHER_KIND.items():
        if count := alarms.get(code, 0):
            return _degraded(f"{count} {what}")
    return {"status": "ok"}


def top_n(probe: Probe, *, paused: bool = False) -> Check:
    """Degrade while the list is frozen or stale, or the last refresh failed.

    The check is public. The refresh error may name hosts and files, so only `/admin` shows it.
    """
    if probe.error:
        return _degraded("unknown without the database")
    if paused:
        return _degraded("paused by an operator: the list is frozen and counts as fresh")
    if probe.refresh_error:
        waiting = "; there is no list yet: buys wait" if probe.list_age is None else ""
        return _degraded(f"the last refresh failed, the reason is on /admin{waiting}")
    if probe.list_age is None:
        return _degraded("no list yet: buys wait")
    if probe.list_max_age is not None and probe.list_age >= probe.list_max_age:
        return _degraded(f"the list is {probe.list_age:.0f} s old: buys wait")
    return {"status": "ok"}


def destination(described: Mapping[str, object], fault: Reason | None = None) -> Check:
    """Degrade while nothing is sent. An unavailable destination loses no signal before it expires.

    `fault`: why nothing can be sent to the URL, without the URL itself.
    """
    if fault:
        return _degraded(f"the destination's URL is not valid: {fault}")
    state = described["state"]
    return {"status": "ok"} if state == "open" else _degraded(f"deliveries wait: {state}")


def destinations(found: Mapping[str, Check]) -> Check:
    """Degrade while one of the destinations is degraded; `found` are their checks by name."""
    reasons = {name: check["reason"] for name, check in found.items() if check["status"] != "ok"}
    if not reasons:
        return {"status": "ok"}
    if len(found) == 1:
        return _degraded(*reasons.values())
    return _degraded("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))


def clock(difference: float, *, differs: bool) -> Check:
    """Degrade while the clocks of machine and database differ; the check cannot know which one is right."""
    if not differs:
        return {"status": "ok"}
    return _degraded(f"the machine's clock differs from the database's by {difference:+.0f} s")


def configuration(problems: Mapping[str, ConfigFileError]) -> Check:
    """Degrade while a file is not valid and its last valid content stays current.

    The check is public: it names the place. The error may quote the file, so only `/admin` shows it.
    """
    if not problems:
        return {"status": "ok"}
    return _degraded("; ".join(_place(name, problem) for name, problem in problems.items()))


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the file system at the root of a folder's path."""
    return shutil.disk_usage(folder.resolve().anchor).free


def disk(free_bytes: int) -> Check:
    """Degrade while less than 500 MB are free for PostgreSQL and the logs."""
    return (
        {"status": "ok"}
        if free_bytes >= LOW_DISK_BYTES
        else _degraded(f"{free_bytes // 1_000_000} MB are free")
    )


def certificate(found: Certificate | None) -> Check:
    """Degrade while clients get no certificate, or one that ends within 10 days, and while none is renewed.

    `found`: None without TLS. The check is public: why a renewal failed is shown on `/admin`.
    """
    if found is None:
        return {"status": "ok"}
    if found.report is None:
        return _degraded("the service acme does not run: the certificate is not renewed")
    days = found.whole_days_left
    if days is None:
        return _degraded("there is no certificate yet: HTTPS has a placeholder")
    details = {"days_left": days, "domain": found.report.domain}
    if days >= NEAR_END_DAYS:
        return {"status": "ok", **details}
    return {
        **_degraded(f"the certificate ends in {days} days" if days >= 0 else "the certificate has ended"),
        **details,
    }


def _place(file: str, problem: ConfigFileError) -> str:
    line = f"line {problem.line}" if problem.line else ""
    where = ": ".join(part for part in (f"config/{file}", line, problem.place) if part)
    return f"{where}: is not valid; the last valid content stays current"


def _degraded(reason: str) -> Check:
    return {"status": "degraded", "reason": reason}


def _failed(reason: str) -> Check:
    return {"status": "failed", "reason": reason}
