"""Intake: an alert from the HTTP request to a committed row."""

from fastapi import FastAPI

from app.intake.openapi import PATHS, SCHEMAS, SECURITY_SCHEMES
from app.intake.routes import WebhookMiddleware


def install(app: FastAPI) -> None:
    """Let the webhook see each request before the framework's middleware; describe it in `/openapi.json`."""
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: WebhookMiddleware(build())  # type: ignore[method-assign]
    derive = app.openapi

    def openapi() -> dict[str, object]:
        if app.openapi_schema is None:
            app.openapi_schema = derive()
            components = app.openapi_schema["components"]
            components["securitySchemes"].update(SECURITY_SCHEMES)
            components["schemas"].update(SCHEMAS)
            app.openapi_schema["paths"] = {**PATHS, **app.openapi_schema["paths"]}
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
