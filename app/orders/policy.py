"""What an attempt's answer means and what follows (SPEC §8, §10). Pure: time and chance are handed in."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple

from app.retry_after import parse_retry_after

NextStatus = Literal["forwarded", "approved", "failed"]
LONGEST_HOLD_SECONDS = 3600.0  # the age at which even a sell expires: a longer Retry-After changes nothing
# A point in time depends on clocks that may be wrong, and a hold delays exits, too. So the destination is
# asked again after five minutes at most; if it means more, it says so again.
LONGEST_HOLD_BY_CLOCK_SECONDS = 300.0
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


def outcome_of(http_status: int, *, says_failure: bool = False) -> Outcome:
    """Class an answer by its HTTP status; a 2xx whose body says `"success": false` is not accepted.

    A status from 500 on that is not listed is unknown: it does not say what the destination did.
    """
    if 200 <= http_status < 300:
        return Outcome.NOT_TAKEN if says_failure else Outcome.DELIVERED
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


def hold_seconds(
    http_status: int, retry_after: str | None, *, now: datetime, delay: float, answered_at: str | None = None
) -> float | None:
    """Return for how long nothing is sent to the destination after this answer, None for no hold.

    A 429 holds it for what its `Retry-After` says, else for the retry's own `delay`; `Retry-After` on any
    other undelivered answer holds it too. `now` is the database's clock, `answered_at` the `Date` header.
    Exits wait as well, so the hold is bounded.
    """
    if 200 <= http_status < 300:
        return None
    asked = parse_retry_after(
        retry_after,
        now=now,
        answered_at=answered_at,
        longest=LONGEST_HOLD_SECONDS,
        longest_from_clock=LONGEST_HOLD_BY_CLOCK_SECONDS,
    )
    if asked is not None:
        return asked
    return delay if http_status == 429 else None
