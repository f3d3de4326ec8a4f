"""Where deliveries go: the configured URL, or paper without one (SPEC §10)."""

import hashlib
from dataclasses import dataclass, field
from typing import Literal, TypedDict
from urllib.parse import urlsplit

from app import metrics
from app.db.pool import Connection
from app.db.queries import load
from app.runtime import Runtime

_SQL = load("delivery")
_FAILING_REASON = load("breaker")["failing_reason"]


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


class Description(TypedDict):
    """What health and the page show of the destination."""

    kind: Literal["paper", "live"]
    origin: str
    state: Literal["open", "held", "paused"]


def describe(runtime: Runtime) -> Description:
    """Return where deliveries go and whether they may: `held` when the destination asked us to wait."""
    destination = destination_of(runtime.config.webhook.url)
    state = "paused" if runtime.config.system.delivery_paused else runtime.destination_state
    return {"kind": destination.kind, "origin": destination.origin, "state": state}


async def look_up_state(runtime: Runtime, connection: Connection) -> None:
    """Learn whether the destination holds us: another process may have been told so."""
    key = destination_of(runtime.config.webhook.url).key
    held = await connection.fetchval(_SQL["held"], key)
    runtime.destination_state = "held" if held else "open"
    shown = describe(runtime)["state"]
    for state in ("open", "held", "paused"):
        metrics.DESTINATION_STATE.set(state == shown, state)


async def why_failing(runtime: Runtime, connection: Connection) -> str:
    """Return how the destination keeps failing, empty while it does not: an alarm (SPEC §10)."""
    key = destination_of(runtime.config.webhook.url).key
    return await connection.fetchval(_FAILING_REASON, key) or ""
