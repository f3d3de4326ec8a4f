"""An alert on its way from the socket to a committed row (SPEC §8)."""

from fastapi import FastAPI
from starlette.routing import Match, Route
from starlette.types import Scope

from app.intake.openapi import PATHS
from app.intake.routes import WebhookIn


class _Webhook(Route):
    """A plain route that tells its template to the access log, as FastAPI's own routes do."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self}


def install(app: FastAPI) -> None:
    """Add the routes, before all others for they are asked for most, and describe them in `/openapi.json`."""
    endpoint = WebhookIn()
    app.router.routes[:0] = [_Webhook(path, endpoint, methods=["POST"]) for path in PATHS]
    derive = app.openapi

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            app.openapi_schema = derive()
            app.openapi_schema["paths"] = {**PATHS, **app.openapi_schema["paths"]}
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
