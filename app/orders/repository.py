"""The statements of a delivery (`queries.sql`) as typed functions.

Each function runs in the caller's transaction.
"""

from app.db.pool import Connection
from app.db.queries import load

_SQL = load("app.orders")


async def lock_approvals_shared(connection: Connection) -> None:
    """Share the approval lock with the other decision workers until the transaction ends.

    Whether an order is approved depends on the pending orders of its ticker. So no other transaction may
    approve one between this check and the commit. Decision workers claim different tickers, so they share it.
    """
    await connection.execute(_SQL["lock_approvals_shared"])


async def lock_approvals_exclusive(connection: Connection) -> None:
    """Hold the approval lock alone until the transaction ends: for reprocessing, replay and manual orders.

    Only the next statement sees what was committed while this one waited.
    """
    await connection.execute(_SQL["lock_approvals_exclusive"])
