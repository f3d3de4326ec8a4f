"""What an attempt's answer means and what follows (SPEC §8, §10). Pure: time and chance are handed in."""

from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Literal, NamedTuple

NextStatus = Literal["forwarded", "approved", "failed"]
LONGEST_HOLD_SECONDS = 3600.0  # the age at which even a sell expires: a longer Retry-After changes nothing
_JITTER = 0.2


class Outcome(StrEnum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    REFUSED = "refused"  # the destination has it and will not take it
    NOT_TAKEN = "not_taken"  # it certainly did nothing with it
    UNKNOWN = "unknown"  # it may have acted on it


class RetryUnknown(NamedTuple):
    """Whether an order whose outcome is unknown is sent again.

    A buy made twice costs money, so buys are not; a sell made twice finds nothing left to sell, while one
    that never arrived leaves a position open, so sells are. Both carry the same `webhook-id` each time.
    """

    buy: bool = False
    sell: bool = True


def outcome_of(http_status: int) -> Outcome:
    """Class an HTTP status. What SPEC §10 does not name above 500 is unknown: nobody says what it did."""
    if 200 <= http_status < 300:
        return Outcome.DELIVERED
    if http_status in {408, 425, 429, 503}:
        return Outcome.NOT_TAKEN
    return Outcome.UNKNOWN if http_status >= 500 else Outcome.REFUSED


def next_status(outcome: Outcome, order_type: str, retry_unknown: RetryUnknown) -> NextStatus:
    """Follow the table of SPEC §8 out of `forwarding`."""
    match outcome:
        case Outcome.DELIVERED:
            return "forwarded"
        case Outcome.REFUSED:
            return "failed"
        case Outcome.NOT_TAKEN:
            return "approved"
        case Outcome.UNKNOWN:
            again = retry_unknown.buy if order_type == "buy" else retry_unknown.sell
            return "approved" if again else "failed"


def retry_delay(number: int, schedule: Sequence[float], chance: float) -> float:
    """Return the seconds from attempt `number` (from 1) to the next: the schedule's step, the last for ever.

    `chance` in 0…1 spreads it over ±20 %, so that what failed together does not come back together.
    """
    step = schedule[min(number, len(schedule)) - 1]
    return step * (1 + _JITTER * (2 * chance - 1))


def hold_seconds(http_status: int, retry_after: str | None, *, now: datetime, delay: float) -> float | None:
    """Return how long the whole destination is left alone after this answer, None for not at all (SPEC §10).

    A 429 holds it for what its `Retry-After` says, else for the retry's own `delay`; `Retry-After` on any
    answer but a 2xx holds it too.
    """
    if 200 <= http_status < 300:
        return None
    asked = None if retry_after is None else parse_retry_after(retry_after, now)
    if asked is not None:
        return min(asked, LONGEST_HOLD_SECONDS)
    return delay if http_status == 429 else None


def parse_retry_after(value: str, now: datetime) -> float | None:
    """Read a `Retry-After` header, seconds or an HTTP date: None if neither, 0 if the date has passed."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    # a date without a zone is read as UTC, which is what HTTP dates are in
    return max(0.0, (at.replace(tzinfo=at.tzinfo or now.tzinfo) - now).total_seconds())
