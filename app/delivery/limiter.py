"""The arithmetic of the rate limits (SPEC §10). Pure; the attempts in the database are the ledger.

An attempt counts while it is open and for one window after it ended. The request reaches the destination
somewhere between its start and its end, so counting from the end keeps every sliding window, as it sees it,
within the limit.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

# With every token lent to an open attempt nobody knows when one comes back: look again soon.
_LOOK_AGAIN_SECONDS = 0.25


class Window(NamedTuple):
    """At most `limit` requests in any `seconds`."""

    limit: int
    seconds: int


class Allowance(NamedTuple):
    """How many attempts may start now, in all and by window; with none, in how many seconds the next may."""

    tokens: int
    by_window: tuple[int, ...]
    wait_seconds: float


def allowance(
    windows: Sequence[Window], *, open_attempts: int, ended: Sequence[datetime], now: datetime
) -> Allowance:
    """Count the tokens left.

    `ended` holds the ends of earlier attempts, newest first, as many as the largest limit where there are
    that many.
    """
    by_window, wait = [], 0.0
    for window in windows:
        length = timedelta(seconds=window.seconds)
        recent = sum(1 for end in ended[: window.limit] if end > now - length)
        by_window.append(max(0, window.limit - open_attempts - recent))
        if by_window[-1]:
            continue
        # a token is free once fewer than `limit` count: when the (limit - open)-th newest end leaves
        room = window.limit - open_attempts
        leaves = (ended[room - 1] + length - now).total_seconds() if 0 < room <= len(ended) else 0.0
        wait = max(wait, leaves, _LOOK_AGAIN_SECONDS if room <= 0 else 0.0)
    return Allowance(min(by_window), tuple(by_window), wait)
