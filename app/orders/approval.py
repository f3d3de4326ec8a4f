"""The lock around approving orders.

Whether an order may be made depends on what else of its ticker is pending: nothing else may be approved
between the look and the commit. Decision workers share the lock, since their rows of a ticker are kept apart
already. Reprocessing, replay and people's orders hold it alone, rarely and for a few statements. Both take it
in a statement of its own: only the next one sees what was committed while it waited.

A module of its own: decision and positions use it and nothing else of a delivery.
"""

from app.db.pool import Connection
from app.db.queries import load

_SQL = load("app.orders")


async def lock_shared(connection: Connection) -> None:
    """Keep exclusive holders out until the transaction ends."""
    await connection.execute(_SQL["lock_shared"])


async def lock_exclusive(connection: Connection) -> None:
    """Keep everybody else out until the transaction ends."""
    await connection.execute(_SQL["lock_exclusive"])
