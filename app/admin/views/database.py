"""What the database holds, and how it is taken out, brought in and cleared."""

from typing import Any

from fastapi import Request

from app.admin.filters import STATUSES
from app.admin.routes import database
from app.db.pool import Connection


async def read(request: Request, _: Connection) -> dict[str, Any]:
    """How much there is of everything."""
    return {"contents": await database.contents(request), "statuses": STATUSES}
