"""The destination's state as `/health`, the page and the metrics show it."""

from typing import Literal, TypedDict

from app import metrics
from app.context import AppContext
from app.db.pool import Connection
from app.orders import destinations_repository
from app.orders.destination import destination_of
from app.signals.reasons import Reason


class Description(TypedDict):
    """The destination for `/health` and the page; `held`: it asked to wait, or its circuit is open."""

    kind: Literal["paper", "live"]
    origin: str
    state: Literal["open", "held", "paused"]


def describe_destination(context: AppContext) -> Description:
    """Return the configured destination, and whether signals are sent to it now."""
    destination = destination_of(context.config.webhook.url)
    state = "paused" if context.config.system.delivery_paused else context.destination_state
    return {"kind": destination.kind, "origin": destination.origin, "state": state}


async def refresh_destination_state(context: AppContext, connection: Connection) -> None:
    """Read from the database whether the destination is held: another process may have set it."""
    key = destination_of(context.config.webhook.url).key
    reason = await destinations_repository.read_hold_reason(connection, destination=key)
    context.destination_state = "held" if reason else "open"
    shown = describe_destination(context)["state"]
    for state in ("open", "held", "paused"):
        metrics.DESTINATION_STATE.set(state == shown, state)


async def circuit_reason(context: AppContext, connection: Connection) -> Reason | None:
    """Return the reason of the failure that keeps the circuit open; None while it is closed. An alarm."""
    key = destination_of(context.config.webhook.url).key
    return await destinations_repository.read_circuit_reason(connection, destination=key)
