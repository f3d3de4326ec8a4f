"""The pages: sign-in, the views, a signal's timeline, `/docs`. They also work without scripts."""

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from uuid import UUID

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from app.admin import repository, snapshot
from app.admin.rendering import page, problem_page
from app.admin.views import BY_NAME, NAVIGATION, VIEWS, View
from app.admin.waiting import add_waits
from app.web.authentication import (
    ADMIN,
    COOKIE,
    LIFETIME_SECONDS,
    PREFERENCES,
    SIGN_IN,
    SIGN_OUT,
    Access,
    EndedSessions,
    address_parts,
    client_address,
    foreign,
    is_foreign,
    sessions_of,
)
from app.web.dependencies import context_of
from app.web.locale import LANGUAGES, THEMES
from app.web.locale import LIFETIME_SECONDS as PREFERENCE_SECONDS
from app.web.routing import new_router
from app.web.texts import text

if TYPE_CHECKING:
    from app.web.throttle import WrongAttempts

router = new_router(include_in_schema=False)

_FORM_BYTES = 4096


@router.get("/")
async def root() -> Response:
    """Redirect to the admin page."""
    return RedirectResponse("/admin", 303)


def _add(view: View) -> None:
    async def show(request: Request, *, fragment: bool = False) -> Response:
        frame = await _frame(request, view, fragment=fragment)
        async with context_of(request).reading.acquire() as connection:
            values = await view.read(request, connection)
        return page(view.template, **frame, **values)

    router.add_api_route(view.path, show, name=view.name)


for _view in VIEWS:
    _add(_view)


@router.get("/admin/page/signals/{signal_id}")
async def signal_story(request: Request, signal_id: UUID, *, fragment: bool = False) -> Response:
    """Show a signal's timeline as a page, or with `fragment` as the part that a list opens over itself."""
    frame = await _frame(request, BY_NAME["signals"], fragment=fragment)
    async with context_of(request).reading.acquire() as connection:
        found = await repository.fetch_timeline(connection, signal_id=signal_id)
        if found is None:
            return problem_page(404, text("story.missing"))
        found = await add_waits(context_of(request), connection, found)
        neighbours = await repository.fetch_neighbours(connection, seq=found.signal.seq)
    return page("story.html", **frame, story=found, neighbours=neighbours)


@router.post(PREFERENCES)
async def choose(request: Request) -> Response:
    """Store a language or a theme in a cookie, then redirect to the page of the choice."""
    if is_foreign(request.headers, required=False):
        return foreign()
    form = await _small_form(request)
    came_from = address_parts(request.headers.get("referer", ""))
    target = ""
    if came_from:
        target = came_from.path + (f"?{came_from.query}" if came_from.query else "")
    response = RedirectResponse(local_path(target), 303)
    for name, allowed in (("language", LANGUAGES), ("theme", THEMES)):
        if form.get(name) in allowed:
            _set_cookie(request, response, name, form[name], PREFERENCE_SECONDS)
    return response


@router.get(SIGN_IN)
async def sign_in_form(request: Request, next: str = "/admin") -> Response:  # noqa: A002  # the name in the address
    """Show the sign-in form, with an error if no token is configured."""
    possible = sessions_of(context_of(request)).is_possible
    return page(
        "sign_in.html", problem=None if possible else text("sign_in.impossible"), target=local_path(next)
    )


@router.post(SIGN_IN)
async def sign_in(request: Request) -> Response:
    """Exchange the token for a session cookie; delay the response to a wrong token."""
    if is_foreign(request.headers, required=False):
        return foreign()
    form = await _small_form(request)
    target = local_path(form.get("next", "/admin"))
    sessions = sessions_of(context_of(request))
    attempts: WrongAttempts = request.app.state.wrong_attempts
    if not sessions.is_possible:
        return page("sign_in.html", 401, problem=text("sign_in.impossible"), target=target)
    holder = sessions.holder_of(form.get("token", "").strip())
    ended: EndedSessions = request.app.state.ended_sessions
    if holder is not None and holder != ADMIN:
        if not await ended.is_known():
            return page("sign_in.html", 503, problem=text("problem.database_away"), target=target)
        holder = None if ended.is_revoked(holder) else holder
    if holder is None:
        context_of(request).denials.count("sign_in", client_address(request))
        await asyncio.sleep(attempts.record(client_address(request)))
        return page("sign_in.html", 401, problem=text("sign_in.wrong"), target=target)
    if holder == ADMIN:  # a reader could else guess it without a delay
        attempts.forget(client_address(request))
    response = RedirectResponse(target, 303)
    _set_cookie(request, response, COOKIE, sessions.issue(holder), LIFETIME_SECONDS)
    return response


@router.post(SIGN_OUT)
async def sign_out(request: Request) -> Response:
    """End the session: its cookie becomes invalid, and its open pages ask for a sign-in."""
    access: Access = request.state.access
    if access.session is not None:
        ended: EndedSessions = request.app.state.ended_sessions
        await ended.end(access.session)
    response = RedirectResponse(SIGN_IN, 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@router.get("/docs")
async def docs() -> Response:
    """Show Swagger UI for /openapi.json; all its assets are served by the application."""
    return page("docs.html")


def local_path(target: str) -> str:
    """Return the path to open after the sign-in: a path of this site, else `/admin`. Pure."""
    inside = (
        target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    )
    return target if inside else "/admin"


async def _frame(request: Request, view: View, *, fragment: bool) -> dict[str, Any]:
    """Return the frame of a view: header and navigation, or nothing for a fragment."""
    if fragment:
        return {"frame": "fragment.html", "view": view}
    seen = await snapshot.look(context_of(request))
    return {
        "frame": "shell.html",
        "view": view,
        "navigation": NAVIGATION,
        "seen": seen,
        "access": request.state.access,
    }


def _set_cookie(request: Request, response: Response, name: str, value: str, max_age: int) -> None:
    """Set a cookie that no script and no other site can read or send; over TLS it is `Secure`."""
    over_tls = "https" in {request.scope["scheme"], request.headers.get("x-forwarded-proto")}
    response.set_cookie(name, value, max_age=max_age, httponly=True, samesite="strict", secure=over_tls)


async def _small_form(request: Request) -> dict[str, str]:
    """Return the form's fields, parsed from at most the first 4096 bytes of the body."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES:
            break
    fields = parse_qs(body[:_FORM_BYTES].decode("utf-8", errors="replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}
