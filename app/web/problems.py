"""Responses to errors of routes: `{"detail": …}` for programs, a page for people.

They are in the reader's language, so that the page can show them unchanged; without a language in English.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import structlog
from fastapi.encoders import jsonable_encoder
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from app.db.errors import TRANSIENT_DB_ERRORS
from app.db.reading import ReadLimitError, ReadTooSlowError
from app.errors import ConfigFileError, RefusedError, describe
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.web.faults import fault_of
from app.web.reasons import render
from app.web.texts import text

if TYPE_CHECKING:
    from fastapi import FastAPI

log = structlog.get_logger(__name__)

_SECRET = re.compile(r"(?i)secret|\Aurl\Z")  # a URL may have a password
ProblemPage = Callable[[int, str], Response]
"""Renders a message as a page with this HTTP status."""


class Problem(BaseModel):
    """A refusal: what is wrong and what to do."""

    detail: str


class Invalid(BaseModel):
    """The request is not valid: a text, or a list of the places that have the wrong type.

    `place` is the path of a configured value that is not allowed, such as `max_signal_age_seconds.buy`.
    """

    detail: str | list[dict[str, Any]]
    place: str | None = None


def install(app: "FastAPI", problem_page: ProblemPage) -> None:
    """Answer 503 wherever a route finds the database unavailable, and refusals with their own status."""
    app.state.problem_page = problem_page
    for kind in TRANSIENT_DB_ERRORS:
        app.add_exception_handler(kind, _database_unavailable)
    app.add_exception_handler(Exception, _unexpected)
    app.add_exception_handler(ReadLimitError, _read_limit)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _unreadable)
    app.add_exception_handler(ClientDisconnect, _abandoned)


def internal_error() -> JSONResponse:
    """Return a clear answer for a defect of ours; its traceback is in the log.

    The server closes the connection after an exception. Without the header a client could send its next
    alert on it.
    """
    return JSONResponse({"detail": "internal error; the log says more"}, 500, {"Connection": "close"})


async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
    return internal_error()


async def _refused(_request: Request, error: Exception) -> Response:
    refusal = cast("RefusedError", error)
    answer = {"detail": render(refusal.reason)}
    if isinstance(refusal, ConfigFileError) and refusal.place:
        answer["place"] = refusal.place
    return JSONResponse(answer, refusal.http_status)


def unavailable(connection: HTTPConnection, message: str) -> Response:
    """Answer 503: a page for a person, JSON for a program."""
    if "text/html" in connection.headers.get("accept", ""):
        problem_page: ProblemPage = connection.app.state.problem_page
        answer = problem_page(503, message)
    else:
        answer = JSONResponse({"detail": message}, 503)
    answer.headers["Retry-After"] = "2"
    return answer


async def _invalid(_request: Request, error: Exception) -> Response:
    """Answer 422 with the places of a body or query that are not valid: FastAPI's answer in our own words."""
    found = [_in_words(each) for each in cast("RequestValidationError", error).errors()]
    try:
        return JSONResponse({"detail": jsonable_encoder(found)}, 422)
    except (ValueError, RecursionError):
        # what was sent cannot be sent back: NaN, half a surrogate pair, bytes, or nested too deeply
        return JSONResponse({"detail": _bare(found)}, 422)


def _in_words(error: dict[str, Any]) -> dict[str, Any]:
    """Return the error without texts of pydantic or of a parser. Pure."""
    shown = {**error, "msg": render(fault_of(error))}
    if _may_be_secret(error):
        shown["input"] = None
    context = {name: value for name, value in shown.pop("ctx", {}).items() if name != "error"}
    return {**shown, "ctx": context} if context else shown


def _may_be_secret(error: dict[str, Any]) -> bool:
    """Return whether what was sent is not sent back: a secret, a URL, an unknown field, a whole body."""
    place = error["loc"]
    is_whole = not place or place == ("body",)
    return is_whole or error["type"] == "extra_forbidden" or _SECRET.search(str(place[-1])) is not None


def _bare(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return places and messages without the input. Characters that are not text are replaced. Pure."""
    return [
        {
            "loc": [part if isinstance(part, int) else _readable(str(part)) for part in each["loc"]],
            "msg": _readable(each["msg"]),
            "type": each["type"],
            "input": None,
        }
        for each in found
    ]


def _readable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


async def _abandoned(_request: Request, _error: Exception) -> Response:
    """End a request whose client left before the body was complete; only the access log has the status."""
    return JSONResponse({"detail": "the body was not complete"}, 400)


async def _unreadable(request: Request, error: Exception) -> Response:
    """Answer 422 to every body that is not valid, also where FastAPI answers 400 because it is not text."""
    if not isinstance(error, HTTPException) or error.status_code != 400:
        return await http_exception_handler(request, cast("HTTPException", error))
    place = {
        "loc": ["body"],
        "msg": render(Reason(RefusalCode.NOT_JSON)),
        "type": "json_invalid",
    }
    return JSONResponse({"detail": [place]}, 422)


async def _read_limit(request: Request, error: Exception) -> Response:
    is_slow = isinstance(error, ReadTooSlowError)
    log.warning("a read reached its limit", path=request.scope["path"], limit="time" if is_slow else "turns")
    return unavailable(request, text("problem.read_too_slow" if is_slow else "problem.reads_busy"))


async def _database_unavailable(request: Request, error: Exception) -> Response:
    log.warning("request failed: the database is unavailable", error=describe(error))
    return unavailable(request, text("problem.database_away"))
