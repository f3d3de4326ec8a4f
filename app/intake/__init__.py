"""An alert on its way from the socket to a committed row."""

from fastapi import FastAPI

from app.intake.openapi import PATHS, SCHEMAS, SECURITY_SCHEMES
from app.intake.routes import WebhookIn


def install(app: FastAPI) -> None:
    """Put the webhook before everything else of the application, and describe it in `/openapi.json`.

    Middleware that is added later than this stands before the webhook, and costs each alert its time.
    """
    app.add_middleware(WebhookIn)
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
