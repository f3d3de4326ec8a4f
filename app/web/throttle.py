"""Throttle of wrong tokens: their answer is delayed by up to 5 s. A correct token is never delayed."""

import time
from collections import OrderedDict
from collections.abc import Callable

FIRST_SECONDS, LONGEST_SECONDS = 0.25, 5.0
FORGOTTEN_AFTER_SECONDS = 900.0
_ADDRESSES = 1000
REFUSALS_A_MINUTE, _MINUTE_SECONDS = 20, 60.0


class WrongAttempts:
    """Counts wrong attempts by address: 0.25 s, doubling up to 5 s, forgotten after 15 quiet minutes.

    Holds 1,000 addresses, so that a flood from many cannot fill the memory. `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def record(self, address: str) -> float:
        """Count one wrong attempt and return the seconds its answer has to wait."""
        now = self._clock()
        count, last = self._seen.pop(address, (0, now))
        if now - last > FORGOTTEN_AFTER_SECONDS:
            count = 0
        self._seen[address] = (count + 1, now)
        if len(self._seen) > _ADDRESSES:
            self._seen.popitem(last=False)
        return float(min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(count, 10)))

    def forget(self, address: str) -> None:
        """Remove the record of an address, after the correct ADMIN_TOKEN."""
        self._seen.pop(address, None)


class ScopeRefusals:
    """Limits what refused requests of a named token write into the actions log: 20 entries a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes = dict[str, tuple[float, int]]()  # by name: of a configured token, so there are few

    def admits(self, name: str) -> bool:
        """Count one refused request of a token; return whether it may be recorded."""
        now = self._clock()
        began, count = self._minutes.get(name, (now, 0))
        if now - began >= _MINUTE_SECONDS:
            began, count = now, 0
        self._minutes[name] = began, count + 1
        return count < REFUSALS_A_MINUTE
