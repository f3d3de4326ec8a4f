"""The destinations' state as `/health`, the page and the metrics show it."""

from typing import Literal, TypedDict

from app import metrics
from app.config.destinations import DEFAULT_DESTINATION
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


def describe_destination(context: AppContext, name: str = DEFAULT_DESTINATION) -> Description:
    """Return a configured destination, and whether signals are sent to it now."""
    config = context.config.destination(name)
    destination = destination_of(config.url if config else None, name)
    state = "paused" if context.config.system.delivery_paused else context.delivery_of(name).state
    return {"kind": destination.kind, "origin": destination.origin, "state": state}


async def refresh_delivery_states(context: AppContext, connection: Connection) -> None:
    """Read from the database which destinations are held: another process may have set it."""
    for each in context.config.destinations:
        key = destination_of(each.url, each.name).key
        reason = await destinations_repository.read_hold_reason(connection, destination=key)
        context.delivery_of(each.name).state = "held" if reason else "open"
        shown = describe_destination(context, each.name)["state"]
        for state in ("open", "held", "paused"):
            metrics.DESTINATION_STATE.set(state == shown, state, each.name)


async def circuit_reasons(context: AppContext, connection: Connection) -> dict[str, Reason]:
    """Return by destination the reason of the failure that keeps its circuit open. Each is an alarm."""
    found = dict[str, Reason]()
    for each in context.config.destinations:
        key = destination_of(each.url, each.name).key
        if reason := await destinations_repository.read_circuit_reason(connection, destination=key):
            found[each.name] = reason
    return found
