"""The rules behind `/health`: what makes a process unhealthy, what only degrades it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from app.db.clock import ClockStep
from app.errors import ConfigFileError
from app.runtime.queues import Queues
from app.runtime.supervisor import WorkerState

Status = Literal["healthy", "degraded", "unhealthy"]
Check = dict[str, Any]
"""`status` is `ok`, `degraded` or `failed`; `reason` says why in words, where it is not `ok`."""

BACKLOG_SECONDS, BACKLOG_SHARE = 60.0, 0.8
LOW_DISK_BYTES = 500_000_000


BLOCKED_AFTER_SECONDS = 3.0
CLOCK_STEP_SHOWN_SECONDS = 3600.0


class Blocked(NamedTuple):
    """A statement that waits for a lock: of which worker, for how long, and who holds the lock.

    `blocker` is the server process; `is_idle`: it is idle in an open transaction.
    """

    worker: str
    seconds: float
    blocker: int
    is_idle: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """One look at the database; `error` is empty when it answered in time. Times in seconds.

    `list_*` is the active strategy's stored Top-N, None before the first; `refresh_error` its last refresh's.
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
    """Return the worst: only `failed` is unhealthy, for a restart or another host could mend it."""
    found = {check["status"] for check in checks}
    if "failed" in found:
        return "unhealthy"
    return "degraded" if "degraded" in found else "healthy"


def database(probe: Probe) -> Check:
    """Fail without a round trip in 2 s."""
    return _failed(probe.error) if probe.error else {"status": "ok", "milliseconds": probe.milliseconds}


def workers(states: Mapping[str, WorkerState], blocked: Sequence[Blocked] = ()) -> Check:
    """Fail while any worker is dead or silent for 30 s; degrade while one is blocked or keeps failing."""
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
    """Degrade while decisions fall behind: nearly too many wait, or one waits for a minute."""
    if queues.received >= BACKLOG_SHARE * max_size:
        return _degraded(f"{queues.received} of {max_size} signals wait for a decision")
    if queues.oldest_received > BACKLOG_SECONDS:
        return _degraded(f"a signal has waited {queues.oldest_received:.0f} s for its decision")
    return {"status": "ok"}


def intake(*, paused: bool, failure: str = "") -> Check:
    """Fail while posts cannot be stored, degrade while an operator has paused it: every post is refused."""
    if failure:
        return _failed(f"posts are refused with 503, they cannot be stored: {failure}")
    return _degraded("paused by an operator: posts are refused with 503") if paused else {"status": "ok"}


def outcomes(unwritten: Mapping[int, str]) -> Check:
    """Degrade while the database has not stored what came of a delivery; `unwritten`: attempt → cause."""
    if not unwritten:
        return {"status": "ok"}
    return _degraded(f"outcomes of deliveries not stored yet: {len(unwritten)}; {latest_cause(unwritten)}")


def latest_cause(unwritten: Mapping[int, str]) -> str:
    """Return the cause of the latest attempt whose outcome is not stored; there must be one."""
    return unwritten[max(unwritten)]


def clock_step(step: ClockStep | None, now: float) -> Check:
    """Degrade for an hour after the database's clock stepped; `now` in seconds of `time.monotonic()`."""
    if step is None or now - step.noticed_at > CLOCK_STEP_SHOWN_SECONDS:
        return {"status": "ok"}
    return _degraded(f"the database's clock stepped {describe_step(step)}")


def describe_step(step: ClockStep) -> str:
    """Return the step's direction and size in words, for the check and the alarm."""
    direction = "back" if step.seconds < 0 else "ahead"
    return f"{direction} by {abs(step.seconds):.0f} s"


def sells(queues: Queues) -> Check:
    """Degrade while a sell is about to expire, or has while its position stays open: a person has to act."""
    if queues.sells_expired:
        return _degraded(f"{queues.sells_expired} sells expired undelivered; their positions are still open")
    if queues.sells_late:
        return _degraded(f"{queues.sells_late} sells are about to expire undelivered")
    return {"status": "ok"}


def top_n(probe: Probe, *, paused: bool = False) -> Check:
    """Degrade while the list is frozen, buys wait for a fresh one, or the last refresh failed.

    Anybody may read this: the failure's own reason, which may name hosts and files, needs the token.
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


def destination(described: Mapping[str, object], fault: str = "") -> Check:
    """Degrade while nothing is sent; a destination that is away costs no signal before it expires.

    `fault`: why nothing can be sent to its URL, in words without the URL.
    """
    if fault:
        return _degraded(f"the destination's URL is not valid: {fault}")
    state = described["state"]
    return {"status": "ok"} if state == "open" else _degraded(f"deliveries wait: {state}")


def clock(difference: float, *, differs: bool) -> Check:
    """Degrade while the machine's clock is not the database's: by which one is right nothing here decides."""
    if not differs:
        return {"status": "ok"}
    return _degraded(f"the machine's clock differs from the database's by {difference:+.0f} s")


def configuration(problems: Mapping[str, ConfigFileError]) -> Check:
    """Degrade while a file is wrong and its last good content stays in force.

    Anybody may read this: the place is named; what is wrong there, which may quote it, needs the token.
    """
    if not problems:
        return {"status": "ok"}
    return _degraded("; ".join(_place(name, problem) for name, problem in problems.items()))


def disk(free_bytes: int) -> Check:
    """Degrade before PostgreSQL or the logs fill the disk."""
    return (
        {"status": "ok"}
        if free_bytes >= LOW_DISK_BYTES
        else _degraded(f"{free_bytes // 1_000_000} MB are free")
    )


def _place(file: str, problem: ConfigFileError) -> str:
    line = f"line {problem.line}" if problem.line else ""
    where = ": ".join(part for part in (f"config/{file}", line, problem.place) if part)
    return f"{where}: is wrong, and the last good content stays in force"


def _degraded(reason: str) -> Check:
    return {"status": "degraded", "reason": reason}


def _failed(reason: str) -> Check:
    return {"status": "failed", "reason": reason}
