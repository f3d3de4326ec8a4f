"""What an attempt's answer means and what follows. Pure: time and chance are arguments.

The body of an answer may be cut off, compressed, nested without end or no JSON at all: reading it never
raises, and the time grows with the length alone.
"""

import re
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from app.runtime.retry_after import parse_retry_after
from app.signals.statuses import Outcome, SignalType, Status

LONGEST_HOLD_SECONDS = 3600.0  # the age at which even a sell expires: a longer Retry-After changes nothing
# A point in time depends on clocks that may be wrong, and a hold delays exits, too. So the destination is
# asked again after five minutes at most; if it means more, it says so again.
LONGEST_HOLD_BY_CLOCK_SECONDS = 300.0
_JITTER = 0.2

JUDGED_BYTES = 16_384
_LONGEST_REFERENCE = 100  # characters
_REFERENCES = ("id", "logid")
_COMPRESSED = {"gzip", "x-gzip", "deflate"}
# A string that does not end is no token, so each byte is looked at once.
_TOKEN = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*+"|[{}\[\]:,]|[^"{}\[\]:, \t\r\n]++)', re.DOTALL)
_decode = msgspec.json.Decoder(str | int).decode


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


def next_status(outcome: Outcome, order_type: str, retry_unknown: RetryUnknown) -> Status:
    """Return the status that follows `forwarding`."""
    match outcome:
        case Outcome.DELIVERED:
            return Status.FORWARDED
        case Outcome.REFUSED:
            return Status.FAILED
        case Outcome.NOT_TAKEN:
            return Status.APPROVED
        case Outcome.UNKNOWN:
            again = retry_unknown.buy if order_type == SignalType.BUY else retry_unknown.sell
            return Status.APPROVED if again else Status.FAILED


def retry_delay(number: int, schedule: Sequence[float], chance: float) -> float:
    """Return the seconds from attempt `number` (from 1) to the next: the schedule's step, then its last.

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


def says_failure(answer: bytes) -> bool:
    """Whether a JSON object says `"success": false`.

    Fails open: an answer that cannot be read counts as what its HTTP status says.
    """
    return _scalars(answer).get("success", b"").lower() in {b"false", b'"false"'}


def reference_of(answer: bytes) -> str | None:
    """Return the bridge's own number of the order, `id` or else `logId` of its JSON object."""
    found = _scalars(answer)
    for name in _REFERENCES:
        try:
            reference = str(_decode(found.get(name, b"null")))
        except (msgspec.MsgspecError, ValueError):
            continue
        if 0 < len(reference) <= _LONGEST_REFERENCE and reference.isprintable():
            return reference
    return None


def unpacked(answer: bytes, encoding: str) -> bytes:
    """Return what can be read of a compressed answer, at most `JUDGED_BYTES`; any other as it is."""
    if encoding.strip().lower() not in _COMPRESSED:
        return answer
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(answer, JUDGED_BYTES)
    except zlib.error:
        return answer


def _scalars(answer: bytes) -> dict[str, bytes]:
    """Return the scalar members of the outermost object, by name in lower case, as far as it can be read."""
    found = dict[str, bytes]()
    depth, previous, name = 0, b"", b""
    text = answer.removeprefix(b"\xef\xbb\xbf")
    token = _TOKEN.match(text)
    if token is None or token[1] != b"{":
        return found
    while token:
        mark = token[1]
        if mark in {b"{", b"["}:
            depth, name = depth + 1, b""
        elif mark in {b"}", b"]"}:
            depth -= 1
        elif depth == 1 and mark == b":":
            name = previous
        elif depth == 1 and name:
            found[_name(name)], name = mark, b""
        if depth == 0:
            break
        previous, token = mark, _TOKEN.match(text, token.end())
    return found


def _name(token: bytes) -> str:
    try:
        return str(_decode(token)).lower()
    except (msgspec.MsgspecError, ValueError):
        return ""
