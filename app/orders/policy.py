"""The retry policy: what an answer means and what follows from it. Pure: time and chance are arguments.

The body of an answer may be truncated, compressed, deeply nested or not JSON. Reading it never raises, and
the cost grows linearly with its length.
"""

import json
import re
import zlib
from collections.abc import Sequence
from datetime import datetime

import msgspec

from app.runtime.retry_after import parse_retry_after
from app.signals.statuses import Outcome, RetryUnknown, SignalType, Status

LONGEST_HOLD_SECONDS = 3600.0  # the age at which even a sell expires: a longer hold changes nothing
# A date depends on clocks that may be wrong, and a hold delays exits too. So the destination is tried again
# after 5 min at most; if it needs longer, its next answer says so.
LONGEST_HOLD_BY_CLOCK_SECONDS = 300.0
RETRY_JITTER = 0.2

READ_BYTES = 65_536
_LONGEST_REFERENCE = 100  # characters
_REFERENCES = ("id", "logid")
_COMPRESSED = {"gzip", "x-gzip", "deflate"}
_ANY_HEADER, _NO_HEADER = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
# An unterminated string is not a token, so each byte is read once.
_TOKEN = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*+"|[{}\[\]:,]|[^"{}\[\]:, \t\r\n]++)', re.DOTALL)
_decode = msgspec.json.Decoder(str | int).decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode


def outcome_of(http_status: int, *, says_failure: bool = False) -> Outcome:
    """Return the outcome of an HTTP status; a 2xx whose body says `"success": false` is not accepted.

    503 means not accepted. Any other status from 500 on is unknown: the order may have been executed. So is
    one below 200, which is no final answer; a retry of an exit depends on this.
    """
    if 200 <= http_status < 300:
        return Outcome.NOT_TAKEN if says_failure else Outcome.DELIVERED
    if http_status in {408, 425, 429, 503}:
        return Outcome.NOT_TAKEN
    return Outcome.REFUSED if 300 <= http_status < 500 else Outcome.UNKNOWN


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

    `chance` in 0…1 spreads it over ±20 %, so that signals that failed together are not retried together.
    """
    step = schedule[min(number, len(schedule)) - 1]
    return step * (1 + RETRY_JITTER * (2 * chance - 1))


def hold_seconds(
    http_status: int, retry_after: str | None, *, now: datetime, delay: float, answered_at: str | None = None
) -> float | None:
    """Return the seconds for which this answer holds the destination, None for no hold.

    A 429 holds it for its `Retry-After`, else for the retry's `delay`. `Retry-After` on any other undelivered
    answer holds it too. `now` is the database's clock, `answered_at` the `Date` header. A hold delays exits
    too, so it is bounded.
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
    """Return whether the answer is a JSON object with `"success": false`.

    Fails open: for an answer that cannot be read, the HTTP status decides.
    """
    text = _utf8(answer)
    if (
        b"false" not in text.lower()
    ):  # most answers: reading each member of each takes longer than all else here
        return False
    return _scalars(text).get("success", b"").lower() in {b"false", b'"false"'}


def is_whole(answer: bytes) -> bool:
    """Return whether the answer is one whole JSON value: then no more of it needs to be awaited."""
    try:
        _skip(_utf8(answer))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def reference_of(answer: bytes) -> str | None:
    """Return the destination's own id of the order: `id` or else `logId` of its JSON object."""
    found = _scalars(answer)
    for name in _REFERENCES:
        try:
            reference = str(_decode(found.get(name, b"null")))
        except (msgspec.MsgspecError, ValueError):
            continue
        if 0 < len(reference) <= _LONGEST_REFERENCE and reference.isprintable():
            return reference
    return None


def decompress(answer: bytes, encoding: str) -> bytes:
    """Return the readable start of a compressed answer, at most `READ_BYTES`; any other answer unchanged.

    Fails open: an answer that cannot be decompressed is returned unchanged, so that its HTTP status decides.
    """
    name = encoding.strip().lower()
    if name not in _COMPRESSED:
        return answer
    for header in (_ANY_HEADER, _NO_HEADER) if name == "deflate" else (_ANY_HEADER,):
        try:
            return zlib.decompressobj(header).decompress(answer, READ_BYTES)
        except zlib.error:
            continue
    return answer


def _scalars(text: bytes) -> dict[str, bytes]:
    """Return the scalar members of the outermost object, by lower-case name, up to where it can be read."""
    found = dict[str, bytes]()
    depth, previous, name = 0, b"", b""
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


def _utf8(answer: bytes) -> bytes:
    """Return JSON in UTF-8, without a byte order mark; UTF-16 and UTF-32 show in its first bytes."""
    encoding = json.detect_encoding(answer)
    if encoding in {"utf-8", "utf-8-sig"}:
        return answer.removeprefix(b"\xef\xbb\xbf")
    return answer.decode(encoding, "ignore").encode()


def _name(token: bytes) -> str:
    try:
        return str(_decode(token)).lower()
    except (msgspec.MsgspecError, ValueError):
        return ""
