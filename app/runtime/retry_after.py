"""The one reader of a `Retry-After` header, for the destination and for the screener's site. Pure."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"\d+(\.\d*)?", re.ASCII)
_LONGEST_HEADER = 100  # characters; the longest HTTP date has 29
_EPOCH_FROM = 1e9  # a number from here on is a Unix time: as a delay it would be 31 years
_MILLISECONDS_FROM = 1e12
# A later point in time is not a plausible time for a retry.
_CREDIBLE_SECONDS = 86_400.0


def parse_retry_after(
    value: str | None,
    *,
    now: datetime,
    answered_at: str | None = None,
    longest: float,
    longest_from_clock: float,
) -> float | None:
    """Return the seconds to wait, None where the header is absent or not readable. Never raises.

    A number of seconds (fractions too) is clamped to `longest`. A point in time (an HTTP date or a Unix time)
    is measured against the answer's own `Date` header, else against `now`, which is the database's clock; it
    is clamped to 0 … `longest_from_clock`, because it depends on clocks that may be wrong.
    """
    text = (value or "").strip()
    if not text or len(text) > _LONGEST_HEADER:
        return None
    if _SECONDS.fullmatch(text):
        number = float(text)
        if number < _EPOCH_FROM:
            return min(number, longest)
        at = number / 1000 if number >= _MILLISECONDS_FROM else number
    else:
        moment = _epoch_of(text)
        if moment is None:
            return None
        at = moment
    reference = _epoch_of(answered_at or "")
    wait = at - (now.timestamp() if reference is None else reference)
    return None if wait > _CREDIBLE_SECONDS else min(max(0.0, wait), longest_from_clock)


def _epoch_of(text: str) -> float | None:
    """Return an HTTP date as a Unix time, None for anything else."""
    if len(text) > _LONGEST_HEADER:
        return None
    try:
        at = parsedate_to_datetime(text)
        # a date without a zone is read as UTC, which is what HTTP dates are in
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ArithmeticError, LookupError, ValueError, TypeError, AttributeError):
        return None  # the parser of the standard library raises each of these for some text
