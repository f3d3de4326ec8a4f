"""The edge's certificate, as the service `acme` reports it in a file (images/edge/acme.sh)."""

import time
from dataclasses import dataclass
from math import floor
from pathlib import Path

import msgspec

from app.context import AppContext

_STALE_SECONDS = 300.0  # a report is written every 20 s
_START_SECONDS = 60.0  # the service may start after the application
_MOST_BYTES = 4096


class Report(msgspec.Struct, frozen=True):
    """What the service found at its last look. Unix times.

    `not_after` is None while there is no certificate for `domain`; `problem` says why none could be obtained,
    renewed or read.
    """

    checked_at: int
    domain: str
    not_after: int | None
    problem: str
    failing_since: int | None


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is known of the certificate at the Unix time `now`. `report`: None if the service does not run."""

    report: Report | None
    now: float

    @property
    def days_left(self) -> float | None:
        """The days until it ends, negative afterwards; None where there is none or nothing is known."""
        if self.report is None or self.report.not_after is None:
            return None
        return (self.report.not_after - self.now) / 86_400

    @property
    def whole_days_left(self) -> int | None:
        """The same in whole days, rounded down."""
        days = self.days_left
        return None if days is None else floor(days)


def look(context: AppContext) -> Certificate | None:
    """Return what is known of the certificate now; None without TLS."""
    settings = context.settings
    if not settings.has_tls:
        return None
    return read(settings.certificate_file, now=time.time(), uptime=time.monotonic() - context.started_at)


def days_left(context: AppContext) -> float | None:
    """Return the days until the certificate ends, negative afterwards; None where there is none."""
    found = look(context)
    return found.days_left if found else None


def read(path: Path, *, now: float, uptime: float) -> Certificate | None:
    """Return what is known of the certificate. `now` is a Unix time, `uptime` in seconds.

    A report that is missing, unreadable or stale means that the service does not run. None just after a
    start, when there may be no report yet.
    """
    try:
        with path.open("rb") as file:
            report = msgspec.json.decode(file.read(_MOST_BYTES), type=Report)
    except (OSError, msgspec.MsgspecError, UnicodeError):
        report = None
    if report is not None and abs(now - report.checked_at) <= _STALE_SECONDS:
        return Certificate(report, now)
    return None if uptime < _START_SECONDS else Certificate(None, now)
