"""The admin page behind its sign-in, live updates, the API for both, and `/docs`."""

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.staticfiles import StaticFiles

from app.admin import live, pages
from app.admin.rendering import problem_page
from app.admin.routes import (
    configuration,
    database,
    destinations,
    legacy,
    records,
    signals,
    sources,
    strategies,
    switches,
    tokens,
    trades,
    what_if,
)
from app.web import problems
from app.web.authentication import Authentication
from app.web.hub import Hub
from app.web.legacy_token import LegacyToken
from app.web.locale import LocaleMiddleware
from app.web.middleware import HeadAsGet, SecurityHeaders
from app.web.routing import add_routes
from app.web.throttle import WrongAttempts

if TYPE_CHECKING:
    from fastapi import FastAPI


def install(app: "FastAPI", *, legacy_api: bool = False) -> None:
    """Add `/`, `/admin…`, `/docs`, `/static`, `/ws/admin-updates`; authenticate before every route.

    `legacy_api`: also accept the admin calls of the replaced system.
    """
    app.state.wrong_attempts = WrongAttempts()
    app.state.hub = Hub()
    routers = [
        pages.router,
        signals.router,
        switches.router,
        configuration.router,
        strategies.router,
        sources.router,
        destinations.router,
        tokens.router,
        records.router,
        trades.router,
        what_if.router,
        database.router,
        live.router,
    ]
    if legacy_api:
        routers.append(legacy.router)
    add_routes(app, routers)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    problems.install(app, problem_page)
    app.add_middleware(HeadAsGet)  # innermost: the other middlewares see the original method
    app.add_middleware(Authentication, attempts=app.state.wrong_attempts)
    if legacy_api:
        app.add_middleware(LegacyToken)
    app.add_middleware(LocaleMiddleware)
    # added last, so outermost: responses of the authentication get the headers, too
    app.add_middleware(SecurityHeaders)
