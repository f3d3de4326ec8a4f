"""Ids that grow with time, so that rows of one time are neighbours in every index (RFC 9562, version 7).

A module of its own: several packages create ids and share nothing else.
"""

import secrets
import time
from uuid import UUID

_VERSION, _VARIANT = 0x7 << 76, 0b10 << 62


def new_id() -> UUID:
    """Return a UUID of this millisecond and 74 random bits."""
    milliseconds, random = time.time_ns() // 1_000_000, secrets.randbits(74)
    return UUID(int=milliseconds << 80 | _VERSION | (random >> 62) << 64 | _VARIANT | random & (1 << 62) - 1)
