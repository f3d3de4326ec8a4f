"""What goes wrong below a route: `{"detail": …}` for programs (SPEC §14), a page for people."""

from typing import TYPE_CHECKING

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.admin.rendering import page
from app.admin.texts import text
from app.db.away import DATABASE_AWAY

if TYPE_CHECKING:
    from fastapi import FastAPI

log = structlog.get_logger(__name__)


def install(app: "FastAPI") -> None:
    """Answer 503 wherever a route finds the database away."""
    for kind in DATABASE_AWAY:
        app.add_exception_handler(kind, _database_away)


async def _database_away(request: Request, error: Exception) -> Response:
    log.warning("request without a database", error=f"{type(error).__name__}: {error}")
    message = text("problem.database_away")
    if "text/html" in request.headers.get("accept", ""):
        answer: Response = page("problem.html", 503, message=message)
    else:
        answer = JSONResponse({"detail": message}, 503)
    answer.headers["Retry-After"] = "2"
    return answer
