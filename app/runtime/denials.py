"""Requests that were denied by their credentials, path, method or form, counted by kind and address.

They are counted and never stored: a stranger must not fill a table or a log. Memory is bounded, too.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

import structlog

from app import metrics

log = structlog.get_logger(__name__)

Kind = Literal[
    "webhook_secret",
    "webhook_address",
    "webhook_path",
    "webhook_method",
    "webhook_body",
    "http",
    "admin_token",
    "sign_in",
    "websocket",
]
"""What was refused: an alert with a wrong or missing secret, from an address that its source does not allow,
to a misspelt path, by another method than POST, or with a body that was too large or did not come; what is
not valid HTTP; a wrong token as a header, at the sign-in, or for the live updates."""

KINDS: tuple[Kind, ...] = get_args(Kind)
QUIET_SECONDS = 900.0  # an episode, and its alarm with it, ends after so long without another one
LINE_SECONDS = 60.0  # between two log lines of a kind
_LOOK_EVERY_SECONDS = 1.0
ADDRESSES = 100  # of a kind; beyond that the least recent one is dropped
UNKNOWN_ADDRESS = "unknown"

_EVENTS: dict[Kind, str] = {
    "webhook_secret": "posts with a wrong or missing secret were refused",
    "webhook_address": "posts from an address that their source does not allow were refused",
    "webhook_path": "posts to a wrong path were refused; the webhook is /webhook/in",
    "webhook_method": "requests to the webhook by another method than POST were refused",
    "webhook_body": "posts with an incomplete or too large body were refused",
    "http": "requests that are not valid HTTP were refused",
    "admin_token": "requests with a wrong token were refused",
    "sign_in": "sign-ins with a wrong token were refused",
    "websocket": "live updates with a wrong token were refused",
}


@dataclass(slots=True)
class Episode:
    """Denials of one kind with less than `QUIET_SECONDS` between them. `seen` counts by address."""

    kind: Kind
    first_at: datetime
    last_at: datetime
    last_address: str
    last_clock: float
    count: int = 0
    seen: "OrderedDict[str, int]" = field(default_factory=OrderedDict)

    @property
    def top_address(self) -> str:
        """The address with the most denials among those remembered."""
        return max(self.seen, key=self.seen.__getitem__)


class Denials:
    """Counts denied requests, and logs one line a minute for each kind.

    `now` returns the time to show, `clock` seconds to measure with.
    """

    def __init__(self, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic) -> None:
        self._now, self._clock = now, clock
        self._episodes: dict[Kind, Episode] = {}
        self._unwritten: dict[Kind, int] = {}
        self._line_at: dict[Kind, float] = {}
        for kind in KINDS:
            metrics.DENIALS.labels(kind)

    def count(self, kind: Kind, address: str) -> None:
        """Count a denied request; `write_lines` logs it."""
        now, moment, address = self._clock(), self._now(), shown(address)
        episode = self._current(kind, now)
        if episode is None:
            episode = self._episodes[kind] = Episode(kind, moment, moment, address, now)
        episode.count += 1
        episode.last_at, episode.last_address, episode.last_clock = moment, address, now
        episode.seen[address] = episode.seen.pop(address, 0) + 1
        if len(episode.seen) > ADDRESSES:
            episode.seen.popitem(last=False)
        self._unwritten[kind] = self._unwritten.get(kind, 0) + 1
        metrics.DENIALS.labels(kind).inc()

    def episodes(self) -> dict[Kind, Episode]:
        """Return the kinds that were denied within the last 15 minutes."""
        now = self._clock()
        return {kind: found for kind in KINDS if (found := self._current(kind, now)) is not None}

    def write_lines(self, *, at_once: bool = False) -> None:
        """Log each kind that was counted since its last line; one line a minute, or all `at_once`."""
        now = self._clock()
        for kind, count in list(self._unwritten.items()):
            if not at_once and now - self._line_at.get(kind, -LINE_SECONDS) < LINE_SECONDS:
                continue
            del self._unwritten[kind]
            self._line_at[kind] = now
            episode = self._episodes[kind]
            log.warning(
                _EVENTS[kind],
                kind=kind,
                count=count,
                client=episode.last_address,
                most_from=episode.top_address,
                since=episode.first_at.isoformat(timespec="seconds"),
                total=episode.count,
            )

    def _current(self, kind: Kind, now: float) -> Episode | None:
        episode = self._episodes.get(kind)
        return episode if episode and now - episode.last_clock <= QUIET_SECONDS else None


async def run(denials: Denials, beat: Callable[[], None]) -> None:
    """Write the log lines that are due, once a second."""
    while True:
        beat()
        denials.write_lines()
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


def shown(address: str) -> str:
    """Return the address if it is one: behind a proxy it is a header's word, and may be anything. Pure."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return UNKNOWN_ADDRESS
