"""What goes wrong below a route: `{"detail": …}` for programs (SPEC §14), a page for people."""

from typing import TYPE_CHECKING, cast

import structlog
from fastapi.exception_handlers import http_exception_handler
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.admin.rendering import page
from app.admin.texts import text
from app.config_files import NotWrittenError
from app.config_store import BrokenFileError
from app.db.away import DATABASE_AWAY
from app.errors import ConfigFileError

if TYPE_CHECKING:
    from fastapi import FastAPI

_CHANGE_FAILED: dict[type[Exception], int] = {
    ConfigFileError: 422,
    BrokenFileError: 409,
    NotWrittenError: 500,
}

log = structlog.get_logger(__name__)


def install(app: "FastAPI") -> None:
    """Answer 503 wherever a route finds the database away; say why a change of the configuration failed."""
    for kind in DATABASE_AWAY:
        app.add_exception_handler(kind, _database_away)
    app.add_exception_handler(HTTPException, _unreadable)
    for failure in _CHANGE_FAILED:
        app.add_exception_handler(failure, _change_failed)


async def _unreadable(request: Request, error: Exception) -> Response:
    """Answer 422, the one status of a wrong body, also where FastAPI finds no text in it and says 400."""
    if not isinstance(error, HTTPException) or error.status_code != 400:
        return await http_exception_handler(request, cast("HTTPException", error))
    place = {"loc": ["body"], "msg": "is no JSON in UTF-8", "type": "json_invalid"}  # as FastAPI's own 422
    return JSONResponse({"detail": [place]}, 422)


async def _change_failed(_request: Request, error: Exception) -> Response:
    answer = {"detail": str(error)}
    if isinstance(error, ConfigFileError) and error.place:
        answer["place"] = error.place
    return JSONResponse(answer, _CHANGE_FAILED[type(error)])


async def _database_away(request: Request, error: Exception) -> Response:
    log.warning("request without a database", error=f"{type(error).__name__}: {error}")
    message = text("problem.database_away")
    if "text/html" in request.headers.get("accept", ""):
        answer: Response = page("problem.html", 503, message=message)
    else:
        answer = JSONResponse({"detail": message}, 503)
    answer.headers["Retry-After"] = "2"
    return answer
