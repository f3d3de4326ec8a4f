"""The arithmetic of the rate limits. Pure; the attempts in the database are the ledger.

An attempt counts while it is open and for one window after it ended. The request reaches the destination
somewhere between its start and its end, so counting from the end keeps every sliding window, as it sees it,
within the limit.
"""

from collections.abc import Sequence
from datetime import datetime
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


class Usage(NamedTuple):
    """How many attempts that have ended count in a window; with no token left, when one of them leaves it."""

    ended: int
    leaves_at: datetime | None = None


def allowance(
    windows: Sequence[Window], usage: Sequence[Usage], *, open_attempts: int, now: datetime
) -> Allowance:
    """Count the tokens left; `usage` is in the order of the windows."""
    by_window, wait = [], 0.0
    for window, used in zip(windows, usage, strict=True):
        by_window.append(max(0, window.limit - open_attempts - used.ended))
        if by_window[-1]:
            continue
        # with every token lent to an open attempt there is no moment to wait for
        leaves = (used.leaves_at - now).total_seconds() if used.leaves_at else 0.0
        wait = max(wait, leaves, _LOOK_AGAIN_SECONDS if open_attempts >= window.limit else 0.0)
    return Allowance(min(by_window), tuple(by_window), wait)
