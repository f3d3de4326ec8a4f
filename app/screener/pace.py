"""How often the screener's site may be asked (SPEC §12): half a second apart, 59 times a minute at most."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

SPACING_SECONDS = 0.5
PER_MINUTE = 59
ROWS_A_PAGE = 20
_BACKOFF_FIRST, _BACKOFF_LIMIT = 30.0, 900.0
_BEAT_SECONDS = 5.0


def wait_seconds(asked: Sequence[float], now: float) -> float:
    """Return how long the next request has to wait. `asked`: when the last ones left, oldest first. Pure."""
    if not asked:
        return 0.0
    wait = asked[-1] + SPACING_SECONDS - now
    if len(asked) >= PER_MINUTE:
        wait = max(wait, asked[-PER_MINUTE] + 60.0 - now)
    return max(0.0, wait)


def backoff_seconds(times: int, retry_after: float | None) -> float:
    """Return how long the site is left alone after it turned us away `times` in a row (from 1). Pure."""
    grown = min(_BACKOFF_LIMIT, _BACKOFF_FIRST * 2.0 ** min(times - 1, 10))
    return max(grown, min(retry_after or 0.0, 24 * 3600.0))


def is_export(url: str) -> bool:
    """Return whether the URL is Elite's export, the whole list in one request. Pure.

    `/export/screener` since 2026, `/export.ashx` before.
    """
    try:
        return not {"export", "export.ashx"}.isdisjoint(urlsplit(url).path.lower().split("/"))
    except ValueError:  # not a URL; the fetch says so
        return False


def too_often(url: str, *, top_n: int, refresh_interval_sec: int) -> str:
    """Say why a strategy would ask its site more often than allowed; empty when it would not. Pure.

    Asked when a strategy is saved; a refresh that takes longer than its interval is only late.
    """
    if not url.lower().startswith(("https:", "http:")):
        return ""
    pages = 1 if is_export(url) else math.ceil(top_n / ROWS_A_PAGE)
    if pages * 60 <= PER_MINUTE * refresh_interval_sec:
        return ""
    needed = math.ceil(pages * 60 / PER_MINUTE)
    return (
        f"top_n {top_n} is {pages} pages every {refresh_interval_sec} s, and {PER_MINUTE} requests a minute "
        f"are allowed: set refresh_interval_sec to {needed} or more, or a smaller top_n"
    )


class Pace:
    """Lets requests pass one after the other. `beat` is called while they wait."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._asked: deque[float] = deque(maxlen=PER_MINUTE)

    async def turn(self) -> None:
        """Wait until the next request may leave, and count it."""
        self._beat()
        while (wait := wait_seconds(self._asked, time.monotonic())) > 0:
            await asyncio.sleep(min(wait, _BEAT_SECONDS))
            self._beat()
        self._asked.append(time.monotonic())
