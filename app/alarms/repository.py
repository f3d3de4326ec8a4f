"""The statements of `queries.sql` as typed functions."""

from datetime import datetime

from app.db.pool import Connection
from app.db.queries import load

_SQL = load("app.alarms")


async def settle(connection: Connection, *, code: str, subject: str, until: datetime) -> None:
    """Record that what happened up to `until` is no alarm of this code and subject any more."""
    await connection.execute(_SQL["settle"], code, subject, until)
