"""The destination: its identity, how many attempts may start now, and its circuit breaker. Pure.

Rate limits: an attempt counts while it is open and for one window after it ended. The request arrives between
the attempt's start and its end. So counting from the end keeps every sliding window at the destination within
the limit. A reserve of each limit is for exits: an entry may start only while it leaves the reserve free.

Circuit breaker: five failures in a row over at least three signals open it. Fewer signals could be the cause
themselves. While it is open, one probe at a time is sent, the oldest sell first, until the destination
answers one.
"""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Self
from urllib.parse import urlsplit
from uuid import UUID

from app.signals.reasons import ReasonCode
from app.signals.statuses import Outcome

# While open attempts hold every token, the moment at which one returns is unknown.
_RECHECK_SECONDS = 0.25

FAILURES, SIGNALS = 5, 3
_PROBE_DELAYS = (5.0, 10.0, 20.0, 40.0, 60.0)
LONGEST_PROBE_DELAY_SECONDS = _PROBE_DELAYS[-1]
# The signal of a failed probe may be the cause of the failure, so the next probe is another signal.
PROBE_RETRY_FACTOR = 1.5

# Errors of attempts that this application ended itself: they say nothing about the destination.
OWN_ERRORS = tuple(
    code.english for code in (ReasonCode.SENDER_DIED, ReasonCode.GIVEN_BACK, ReasonCode.NOT_PREPARED)
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination; `key` names it in the database: its limits, holds, circuit and attempts.

    `name` is the configured one, of its orders and positions. `origin` may be shown. `url` holds a password:
    it is never stored with an attempt, shown or logged.
    """

    kind: Literal["paper", "live"]
    origin: str
    key: str
    url: str | None = field(repr=False)
    name: str = "default"  # as in a kept outcome of a version that knew one destination


def destination_of(url: str | None, name: str = "default") -> Destination:
    """Return the destination at the configured URL; None is paper.

    Another URL is another key: what was sent to the one before does not count. The key of `default` is that
    of a version that knew one destination.
    """
    prefix = "" if name == "default" else f"{name}: "
    if url is None:
        return Destination("paper", "paper", f"{prefix}paper", None, name)
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    key = f"{prefix}{origin} {hashlib.sha256(url.encode()).hexdigest()[:12]}"
    return Destination("live", origin, key, url, name)


class Window(NamedTuple):
    """A rate limit: at most `limit` requests in any `seconds`; `reserve` of them only for exits."""

    limit: int
    seconds: int
    reserve: int = 0

    @property
    def for_entries(self) -> Self:
        """The limit for entries. At most half of it is reserved, so that entries leave, too."""
        return self._replace(limit=self.limit - min(self.reserve, self.limit // 2), reserve=0)


class Usage(NamedTuple):
    """Ended attempts that count in a window; `leaves_at`: with no token left, when the next one returns."""

    ended: int
    leaves_at: datetime | None = None


class Allowance(NamedTuple):
    """Attempts that may start now, in all and by window; with none, the seconds until the next may start."""

    tokens: int
    by_window: tuple[int, ...]
    wait_seconds: float


class Tokens(NamedTuple):
    """What exits and entries are allowed; both use the same tokens, and those of entries are never more."""

    exits: Allowance
    entries: Allowance


def compute_allowance(
    windows: Sequence[Window], usage: Sequence[Usage], *, open_attempts: int, now: datetime
) -> Allowance:
    """Return the tokens that the rate limits leave; `usage` is in the order of the windows."""
    by_window, wait = [], 0.0
    for window, used in zip(windows, usage, strict=True):
        by_window.append(max(0, window.limit - open_attempts - used.ended))
        if by_window[-1]:
            continue
        leaves = (used.leaves_at - now).total_seconds() if used.leaves_at else 0.0
        wait = max(wait, leaves, _RECHECK_SECONDS if open_attempts >= window.limit else 0.0)
    return Allowance(min(by_window), tuple(by_window), wait)


def restrict_to_probe(
    free: Allowance, *, open_attempts: int, probe_at: datetime | None, now: datetime
) -> Allowance:
    """Restrict an allowance to one probe at a time while the circuit is open (`probe_at` is set)."""
    if probe_at is None:
        return free
    if open_attempts or probe_at > now:
        wait = max(free.wait_seconds, (probe_at - now).total_seconds(), _RECHECK_SECONDS)
        return free._replace(tokens=0, wait_seconds=wait)
    return free._replace(tokens=min(free.tokens, 1))


class Attempt(NamedTuple):
    """What one attempt shows about the destination; `http_status` None: no answer was read."""

    signal_id: UUID
    outcome: str
    http_status: int | None
    error: str | None = None

    @property
    def is_answer(self) -> bool:
        """Whether the destination works: it refused, or answered 2xx with any body."""
        if self.http_status is None:
            return self.outcome == Outcome.DELIVERED
        return self.outcome == Outcome.REFUSED or 200 <= self.http_status < 300

    @property
    def is_failure(self) -> bool:
        """Whether the attempt counts towards opening the circuit; a 429 holds the destination instead.

        Fails open: an attempt that this application ended or could not send delays no exit.
        """
        return (
            not self.is_answer
            and self.outcome in {Outcome.NOT_TAKEN, Outcome.UNKNOWN}
            and self.http_status != 429
            and self.error not in OWN_ERRORS
        )


class Failure(NamedTuple):
    """What follows from a failed attempt: seconds until the next probe, None while the circuit is closed."""

    probe_delay: float | None = None
    was_probe: bool = False

    def delay(self, retry_delay: float) -> float:
        """Return the seconds until the signal's next attempt."""
        if self.was_probe and self.probe_delay:
            return max(retry_delay, PROBE_RETRY_FACTOR * self.probe_delay)
        return retry_delay


def should_open_circuit(recent: Sequence[Attempt]) -> bool:
    """Return whether the latest attempts, newest first, open the circuit; an answer resets the count."""
    since_answer = itertools.takewhile(lambda attempt: not attempt.is_answer, recent)
    signals: set[UUID] = set()
    for failures, attempt in enumerate((each for each in since_answer if each.is_failure), start=1):
        signals.add(attempt.signal_id)
        if failures >= FAILURES and len(signals) >= SIGNALS:
            return True
    return False


def probe_delay(failed_probes: int) -> float:
    """Return the seconds until the next probe, after this number of failed probes in a row."""
    return _PROBE_DELAYS[min(failed_probes, len(_PROBE_DELAYS) - 1)]
