"""Where deliveries go: the configured URL, or paper without one."""

import hashlib
from dataclasses import dataclass, field
from typing import Literal, TypedDict
from urllib.parse import urlsplit

from app import metrics
from app.context import AppContext
from app.db.pool import Connection
from app.db.queries import load

_SQL = load("app.orders")


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


def describe(context: AppContext) -> Description:
    """Return where deliveries go and whether they may: `held` when the destination asked us to wait."""
    destination = destination_of(context.config.webhook.url)
    state = "paused" if context.config.system.delivery_paused else context.destination_state
    return {"kind": destination.kind, "origin": destination.origin, "state": state}


async def look_up_state(context: AppContext, connection: Connection) -> None:
    """Learn whether the destination holds us: another process may have been told so."""
    key = destination_of(context.config.webhook.url).key
    held = await connection.fetchval(_SQL["held"], key)
    context.destination_state = "held" if held else "open"
    shown = describe(context)["state"]
    for state in ("open", "held", "paused"):
        metrics.DESTINATION_STATE.set(state == shown, state)


async def why_failing(context: AppContext, connection: Connection) -> str:
    """Return how the destination keeps failing, empty while it does not: an alarm."""
    key = destination_of(context.config.webhook.url).key
    return await connection.fetchval(_SQL["failing_reason"], key) or ""
