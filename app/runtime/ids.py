"""Ids that grow with time, so that rows of one time are neighbours in every index (RFC 9562, version 7).

A module of its own: several packages create ids and share nothing else.
"""

import random
import secrets
import time
from uuid import UUID

_random = random.Random(secrets.randbits(256))  # noqa: S311  # ids are no secrets, and asking the system takes longer
_VERSION, _VARIANT = 0x7 << 76, 0b10 << 62


def new_id() -> UUID:
    """Return a UUID of this millisecond and 74 random bits."""
    milliseconds, bits = time.time_ns() // 1_000_000, _random.getrandbits(74)
    return UUID(int=milliseconds << 80 | _VERSION | (bits >> 62) << 64 | _VARIANT | bits & (1 << 62) - 1)
