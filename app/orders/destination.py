"""The destination: the configured URL, or paper without one. Pure."""

import hashlib
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Destination:
    """`origin` may be shown. `key` names the destination in the database: its limits, holds and attempts.

    The URL itself holds a password: it is never stored with an attempt, shown or logged.
    """

    kind: Literal["paper", "live"]
    origin: str
    key: str
    url: str | None = field(repr=False)


def destination_of(url: str | None) -> Destination:
    """Return the destination that the configured URL means; None is paper."""
    if url is None:
        return Destination("paper", "paper", "paper", None)
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return Destination("live", origin, f"{origin} {hashlib.sha256(url.encode()).hexdigest()[:12]}", url)
