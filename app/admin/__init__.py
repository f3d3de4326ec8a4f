"""What people see: `/admin` behind its sign-in, live updates, the API for both, and `/docs`."""

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.staticfiles import StaticFiles

from app.admin import api, configuration, database, live, pages, problems, records, strategies, switches
from app.admin.guard import Guard
from app.admin.headers import HeadAsGet, SecurityHeaders
from app.admin.preferences import Reader
from app.admin.tries import WrongTries

if TYPE_CHECKING:
    from fastapi import FastAPI


def install(app: "FastAPI") -> None:
    """Add `/`, `/admin…`, `/docs`, `/static`, `/ws/admin-updates`; put the guard before every route."""
    app.state.wrong_tries = WrongTries()
    for router in (
        pages.router,
        api.router,
        switches.router,
        configuration.router,
        strategies.router,
        records.router,
        database.router,
        live.router,
    ):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    problems.install(app)
    app.add_middleware(HeadAsGet)  # the innermost: all others see what was asked
    app.add_middleware(Guard, tries=app.state.wrong_tries)
    app.add_middleware(Reader)
    app.add_middleware(
        SecurityHeaders
    )  # added last, so outermost: the guard's own answers get the headers too
