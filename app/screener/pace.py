"""Pace of requests to the screener's site: 0.5 s apart, at most 59 a minute; back-off when it blocks us."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

SPACING_SECONDS = 0.5
PER_MINUTE = 59
ROWS_A_PAGE = 20
_BACKOFF_FIRST, _BACKOFF_LIMIT = 30.0, 900.0
_BEAT_SECONDS = 5.0


def wait_seconds(sent: Sequence[float], now: float) -> float:
    """Return how long the next request has to wait. `sent`: times of the last ones, oldest first. Pure."""
    if not sent:
        return 0.0
    wait = sent[-1] + SPACING_SECONDS - now
    if len(sent) >= PER_MINUTE:
        wait = max(wait, sent[-PER_MINUTE] + 60.0 - now)
    return max(0.0, wait)


def backoff_seconds(blocked_in_a_row: int, retry_after: float | None) -> float:
    """Return how long to send no request, after the site blocked us this often in a row (from 1). Pure."""
    grown = min(_BACKOFF_LIMIT, _BACKOFF_FIRST * 2.0 ** min(blocked_in_a_row - 1, 10))
    return max(grown, min(retry_after or 0.0, 24 * 3600.0))


def is_export(url: str) -> bool:
    """Return whether the URL is Elite's export, the whole list in one request. Pure.

    `/export/screener` since 2026, `/export.ashx` before.
    """
    try:
        return not {"export", "export.ashx"}.isdisjoint(urlsplit(url).path.lower().split("/"))
    except ValueError:  # not a URL; the fetch says so
        return False


def too_often(url: str, *, top_n: int, depth: int, refresh_interval_sec: int) -> Reason | None:
    """Return why a strategy would exceed the pace of requests; None when it would not. Pure.

    Checked when a strategy is saved. A refresh that takes longer than its interval is only late.
    """
    if not url.lower().startswith(("https:", "http:")):
        return None
    wanted = (RefusalCode.TOO_OFTEN, "top_n", top_n), (RefusalCode.DEPTH_TOO_OFTEN, "depth", depth)
    for code, name, size in wanted:
        pages = 1 if is_export(url) else math.ceil(size / ROWS_A_PAGE)
        if pages * 60 > PER_MINUTE * refresh_interval_sec:
            facts = {name: size, "pages": pages, "seconds": refresh_interval_sec, "most": PER_MINUTE}
            return Reason(code, **facts, needed=math.ceil(pages * 60 / PER_MINUTE))
    return None


class Pace:
    """Delays requests to keep the pace, one after the other. Calls the heartbeat `beat` while they wait."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._sent: deque[float] = deque(maxlen=PER_MINUTE)

    async def turn(self) -> None:
        """Wait until the next request may be sent, and count it."""
        self._beat()
        while (wait := wait_seconds(self._sent, time.monotonic())) > 0:
            await asyncio.sleep(min(wait, _BEAT_SECONDS))
            self._beat()
        self._sent.append(time.monotonic())
