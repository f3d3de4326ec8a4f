"""The lock around approving (SPEC §13 "under the ticker's lock").

Whether an order may be made often hangs on what else of its ticker is on its way: nothing else may be
approved between the look and the commit. Decision workers share the lock, since their rows of a ticker are
kept apart already; reprocessing, replay and people's orders own it, rarely and for a few statements.
Both take it in a statement of its own: only the next one sees what was committed while it waited.
"""

from app.db.pool import Connection
from app.db.queries import load

_SQL = load("approvals")


async def share(connection: Connection) -> None:
    """Keep owners out until the transaction ends."""
    await connection.execute(_SQL["share"])


async def own(connection: Connection) -> None:
    """Keep everybody else out until the transaction ends."""
    await connection.execute(_SQL["own"])
