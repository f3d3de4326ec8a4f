"""The contents of the database, and its export, import and clearance."""

from typing import Any

from fastapi import Request

from app.admin.filters import STATUSES
from app.admin.routes import database
from app.db.pool import Connection


async def read(request: Request, _: Connection) -> dict[str, Any]:
    """Return the number of rows of each table."""
    return {"contents": await database.contents(request), "statuses": STATUSES}
