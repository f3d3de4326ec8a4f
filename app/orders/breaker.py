"""The circuit breaker of a destination.

Five failures in a row over at least three signals open it: the signals are not to blame. From then on one
probe at a time leaves, the oldest sell first, until one is answered. Pure but for the functions at the end.
"""

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog

from app import metrics
from app.db.pool import Connection
from app.db.queries import load
from app.orders.limiter import Allowance
from app.signals.statuses import Outcome

log = structlog.get_logger(__name__)

FAILURES, SIGNALS = 5, 3
_PAUSES = (5.0, 10.0, 20.0, 40.0, 60.0)
LONGEST_PAUSE_SECONDS = _PAUSES[-1]
_LATER = 1.5  # the signal of a failed probe lets others go first: it may be the one that is to blame
_WORTH_READING = 50
_LOOK_AGAIN_SECONDS = 0.25
_SQL = load("app.orders")

# Attempts that we ended ourselves say nothing of the destination.
SENDER_DIED, GIVEN_BACK = "its sender died with the request open", "stopped before it was sent"
NOT_PREPARED = "the request cannot be prepared"
_OURS = [SENDER_DIED, GIVEN_BACK, NOT_PREPARED]


class Attempt(NamedTuple):
    """What one attempt says about the destination; `http_status` None: no answer was read."""

    signal_id: UUID
    outcome: str
    http_status: int | None
    error: str | None = None

    @property
    def is_answer(self) -> bool:
        """Whether it shows that the destination works: it refused, or answered 2xx with whatever body."""
        if self.http_status is None:
            return self.outcome == Outcome.DELIVERED
        return self.outcome == Outcome.REFUSED or 200 <= self.http_status < 300

    @property
    def is_failure(self) -> bool:
        """Whether it shows a destination in trouble; 429 has a hold of its own.

        Fails open: what this application ended itself or could not send holds no exit.
        """
        return (
            not self.is_answer
            and self.outcome in {Outcome.NOT_TAKEN, Outcome.UNKNOWN}
            and self.http_status != 429
            and self.error not in _OURS
        )


class Failure(NamedTuple):
    """What a failed attempt leads to: for how long the destination is left alone, None for not at all."""

    pause: float | None = None
    was_probe: bool = False

    def delay(self, retry_delay: float) -> float:
        """Return the seconds until the signal itself is tried again."""
        return max(retry_delay, _LATER * self.pause) if self.was_probe and self.pause else retry_delay


def keeps_failing(recent: Sequence[Attempt]) -> bool:
    """Say whether the latest attempts, newest first, hold the destination; an answer clears it."""
    since_answer = itertools.takewhile(lambda attempt: not attempt.is_answer, recent)
    signals: set[UUID] = set()
    for failures, attempt in enumerate((each for each in since_answer if each.is_failure), start=1):
        signals.add(attempt.signal_id)
        if failures >= FAILURES and len(signals) >= SIGNALS:
            return True
    return False


def pause_seconds(failed_probes: int) -> float:
    """Return how long the destination is left alone after so many failed probes."""
    return _PAUSES[min(failed_probes, len(_PAUSES) - 1)]


def probe_allowance(
    free: Allowance, *, open_attempts: int, probe_at: datetime | None, now: datetime
) -> Allowance:
    """Cut what the limits allow to one probe at a time while the destination is failing."""
    if probe_at is None:
        return free
    if open_attempts or probe_at > now:
        wait = max(free.wait_seconds, (probe_at - now).total_seconds(), _LOOK_AGAIN_SECONDS)
        return free._replace(tokens=0, wait_seconds=wait)
    return free._replace(tokens=min(free.tokens, 1))


async def after_failure(
    connection: Connection, destination: str, attempt: Attempt, started_at: datetime, reason: str
) -> Failure:
    """Note a failure in the transaction that is about to write it down.

    Only one of those that see the destination fail raises the alarm; what began before that is no probe.
    """
    state = await connection.fetchrow(_SQL["state"], destination)
    if state is None or state["probe_at"] is None:
        recent = await connection.fetch(_SQL["recent"], destination, _OURS, _WORTH_READING)
        if not keeps_failing([attempt, *(Attempt(*row) for row in recent)]):
            return Failure()
        pause = pause_seconds(0)
        if await connection.fetchval(_SQL["trip"], destination, pause, reason):
            metrics.DESTINATION_FAILURES.inc()
            log.error("the destination keeps failing and is left alone", seconds=pause, reason=reason)
        return Failure(pause)
    if started_at < state["probe_at"]:
        return Failure()
    pause = pause_seconds(state["failed_probes"] + 1)
    await connection.execute(_SQL["probe_failed"], destination, pause, reason)
    log.warning("the destination still fails", seconds=pause, probes=state["failed_probes"] + 1)
    return Failure(pause, was_probe=True)


async def after_answer(connection: Connection, destination: str) -> None:
    """Note in the running transaction that the destination answered, whatever it said: it works."""
    if await connection.fetchval(_SQL["answered"], destination):
        log_recovery()


def log_recovery() -> None:
    """Log once that the destination works again."""
    log.info("the destination works again")
